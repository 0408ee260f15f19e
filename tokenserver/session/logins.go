package session

import (
	"fmt"
	"sync"
	"time"
)

const (
	// maxLogins is how many logins a user may have in loginWindow, at one replica.
	maxLogins   = 30
	loginWindow = 10 * time.Minute
	// maxEnded is how many ended sessions of a user may be remembered before the user's next login
	// is refused: each login may leave such a record behind, and ending a session is never refused.
	maxEnded = 100
)

// TooManyLogins is the error of a login that comes too soon after others of the user.
type TooManyLoginsError struct {
	// After is how long to wait. Zero: until records of ended sessions have expired, which takes as
	// long as a session may last.
	Wait time.Duration
}

func (e *TooManyLoginsError) Error() string {
	if e.Wait == 0 {
		return fmt.Sprintf("session: the user has ended %d sessions that might still last", maxEnded)
	}
	return fmt.Sprintf("session: the user has logged in %d times in %s", maxLogins, loginWindow)
}

// logins remembers when each user logged in during the last loginWindow. The zero value remembers
// none.
type logins struct {
	mu     sync.Mutex
	times  map[string][]time.Time // by UID, the oldest first
	pruned time.Time
}

// add a login of a user, unless it comes too soon; then it says how long to wait.
func (l *logins) add(userUID string, now time.Time) (wait time.Duration) {
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

// prune forgets the logins of a user that were too long ago.
func (l *logins) prune(userUID string, now time.Time) {
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
