package grant

import (
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// unsettled remembers the writes whose outcome could not be found out, so that the requests were answered 503 and got nothing. Such a write may
// have happened all the same. When the client tries again, what it finds is its own: no answer went to anybody else, so it is no replay. Once
// the client has been answered, it is forgotten: whoever then comes with the old code or token is somebody else.
//
// This is a memory of one process. A client that tries again at another replica, after a write that did happen, is taken for a replay there:
// that errs on the safe side.
type unsettled struct {
	mu     sync.Mutex
	writes map[string]write
}

type write struct {
	grant storage.Grant
	until time.Time
}

// How long and how many writes are remembered. A code lives no longer, and a client that waits longer than Retry-After says does so seldom.
const (
	unsettledFor = maxCodeLifetime
	maxUnsettled = 10_000
)

// remember the write of g, at now.
func (u *unsettled) remember(g storage.Grant, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.writes == nil {
		u.writes = map[string]write{}
	}
	if len(u.writes) >= maxUnsettled {
		for id, w := range u.writes {
			if !now.Before(w.until) {
				delete(u.writes, id)
			}
		}
	}
	if len(u.writes) < maxUnsettled {
		u.writes[g.ID] = write{g, now.Add(unsettledFor)}
	}
}

// forget what is remembered of a grant: its client has been answered.
func (u *unsettled) forget(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.writes, id)
}

// take what is remembered of a grant: one request gets it, so that of two that try again only one can succeed.
func (u *unsettled) take(id string, now time.Time) (storage.Grant, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	w, ok := u.writes[id]
	delete(u.writes, id)
	return w.grant, ok && now.Before(w.until)
}

// takeAny takes any one of what is remembered.
func (u *unsettled) takeAny(now time.Time) (storage.Grant, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, w := range u.writes {
		delete(u.writes, id)
		if now.Before(w.until) {
			return w.grant, true
		}
	}
	return storage.Grant{}, false
}
