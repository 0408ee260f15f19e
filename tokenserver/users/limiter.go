package users

import (
	"fmt"
	"sync"
	"time"
)

const (
	// maxFirstSignIns is how many users of a provider may sign in for the first time within
	// firstSignInWindow, at one replica. Each of them leaves a record behind.
	maxFirstSignIns   = 60
	firstSignInWindow = time.Minute
)

// RateError is the error of a first sign-in that comes too soon after others of the provider.
type RateError struct {
	// Wait is how long the user has to wait.
	Wait time.Duration
}

func (e *RateError) Error() string {
	return fmt.Sprintf("%d users of the identity provider have signed in for the first time within %s", maxFirstSignIns, firstSignInWindow)
}

// limiter limits first sign-ins. The zero value is ready to use. It keeps as many times as there are
// providers, of which a server has few.
type limiter struct {
	mu    sync.Mutex
	times map[string][]time.Time // of the last first sign-ins, by the UID of the provider, oldest first
}

// add records a first sign-in, or records nothing and returns a *RateError.
func (l *limiter) add(providerUID string, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.times == nil {
		l.times = map[string][]time.Time{}
	}
	times := l.times[providerUID]
	if len(times) == maxFirstSignIns {
		if wait := times[0].Add(firstSignInWindow).Sub(now); wait > 0 {
			return &RateError{Wait: wait}
		}
		times = times[1:]
	}
	l.times[providerUID] = append(times, now)
	return nil
}
