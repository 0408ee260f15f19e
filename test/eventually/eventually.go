// Package eventually waits, in tests, for what another goroutine or process is about to do.
package eventually

import (
	"testing"
	"time"
)

const (
	patience = 30 * time.Second
	interval = 5 * time.Millisecond
)

// True fails the test unless the condition becomes true within 30 seconds.
func True(t testing.TB, description string, isTrue func() bool) {
	t.Helper()
	Within(t, patience, description, func() (bool, string) { return isTrue(), "" })
}

// NoError fails the test unless the function returns nil within 30 seconds.
func NoError(t testing.TB, description string, try func() error) {
	t.Helper()
	Within(t, patience, description, func() (bool, string) {
		if err := try(); err != nil {
			return false, err.Error()
		}
		return true, ""
	})
}

// Within fails the test unless the condition becomes true within the timeout. The failure quotes
// the state that the condition reported last.
func Within(t testing.TB, timeout time.Duration, description string, condition func() (isTrue bool, state string)) {
	t.Helper()
	for deadline := time.Now().Add(timeout); ; time.Sleep(interval) {
		isTrue, state := condition()
		if isTrue {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s: %s", timeout, description, state)
		}
	}
}
