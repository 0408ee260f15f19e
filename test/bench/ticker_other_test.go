//go:build !linux

package bench

import "time"

// newTicker returns a function that waits for the next tick, or not if there was one since.
func newTicker(every time.Duration) (wait func() error, stop func(), err error) {
	ticker := time.NewTicker(every)
	return func() error { <-ticker.C; return nil }, ticker.Stop, nil
}
