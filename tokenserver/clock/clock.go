// Package clock has a sleep that a context ends.
package clock

import (
	"context"
	"time"
)

// Sleep waits for d. It reports whether d has passed; false if ctx ended first.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
