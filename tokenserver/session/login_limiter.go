package session

import (
	"fmt"
	"sync"
	"time"
)

const (
	// maxLogins is how many times a user may log in within loginWindow, at one replica.
	maxLogins   = 30
	loginWindow = 10 * time.Minute
	// maxEnded is how many records of ended sessions a user may have before the next login is
	// refused. Each session may leave one behind, and ending a session is never refused.
	maxEnded = 100
)

// TooManyLoginsError is the error of a login that comes too soon after other logins of the user.
type TooManyLoginsError struct {
	// Wait is how long the user has to wait. Zero means until records of ended sessions expire,
	// which takes as long as a session may last.
	Wait time.Duration
}

func (e *TooManyLoginsError) Error() string {
	if e.Wait == 0 {
		return fmt.Sprintf("the user has ended %d sessions that could still last", maxEnded)
	}
	return fmt.Sprintf("the user has logged in %d times in %s", maxLogins, loginWindow)
}

// loginLimiter limits how often each user logs in. The zero value is ready to use.
type loginLimiter struct {
	mu     sync.Mutex
	times  map[string][]time.Time // of logins during the last loginWindow, by user UID, oldest first
	pruned time.Time
}

// add records a login of a user. If it comes too soon, add records nothing and returns how long to
// wait.
func (l *loginLimiter) add(userUID string, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.times == nil {
		l.times = map[string][]time.Time{}
	}
	if now.Sub(l.pruned).Abs() >= loginWindow {
		for uid := range l.times {
			l.prune(uid, now)
		}
		l.pruned = now
	}
	l.prune(userUID, now)
	times := l.times[userUID]
	if len(times) >= maxLogins {
		return times[0].Add(loginWindow).Sub(now)
	}
	l.times[userUID] = append(times, now)
	return 0
}

// prune removes the logins of a user that are older than loginWindow.
func (l *loginLimiter) prune(userUID string, now time.Time) {
	times := l.times[userUID]
	for len(times) > 0 && now.Sub(times[0]) >= loginWindow {
		times = times[1:]
	}
	if len(times) == 0 {
		delete(l.times, userUID)
		return
	}
	l.times[userUID] = times
}
