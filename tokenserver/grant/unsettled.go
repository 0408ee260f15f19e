package grant

import (
	"slices"
	"sync"
	"time"
)

// unsettled remembers, for one kind of secret, the writes whose outcome could not be found out, so that the requests were answered 503 and got
// nothing. Such a write may have happened all the same. When the client tries again and finds the record as one of them has left it, what it
// finds is its own: no answer went to anybody else, so it is no replay. Once the client has been answered, all of it is forgotten: whoever then
// comes with the old code or token is somebody else.
//
// This is a memory of one process, and other replicas share neither what it holds nor what it forgets. A client whose write happened and who
// tries again at another replica, with a code or after the grace (which an outage stops), is taken for a replay there: its grant ends, and it
// has to begin anew. And
// within the grace that other replica answers without a write, of which this one learns nothing: here the replaced token is forgiven once more,
// whoever has it, until its successor is used or the write is too old. Both take a store that was away at the wrong moment.
type unconfirmedWrites struct {
	mu         sync.Mutex
	writes     map[string][]unconfirmedWrite // by grant
	remembered int                           // how many of them are remembered beyond their request
}

type unconfirmedWrite struct {
	attempt string
	// until is how long it is remembered; zero while its request is under way.
	until time.Time
}

// How long and how many writes are remembered. A code lives no longer, and a client that waits longer than Retry-After says does so seldom. A
// client that tries again and again while the store is away leaves several, of which one has happened at the most; nobody knows which.
const (
	unconfirmedRetention   = maxCodeLifetime
	maxUnconfirmed         = 10_000
	maxUnconfirmedPerGrant = 64 // of one grant
)

// begin notes that a request is about to write, and by which attempt. It must call over.
func (u *unconfirmedWrites) begin(id, attempt string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.writes == nil {
		u.writes = map[string][]unconfirmedWrite{}
	}
	u.writes[id] = append(u.writes[id], unconfirmedWrite{attempt: attempt})
}

// over says how a request ended, at now. Unknown means that its write may have happened. If the grant was answered for since it began, there is
// nothing to remember.
func (u *unconfirmedWrites) finish(id, attempt string, err error, unknown bool, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err == nil {
		u.remove(id, func(unconfirmedWrite) bool { return true })
		return
	}
	if !unknown || isRefused(err) || !u.hasCapacity(id, now) {
		u.remove(id, func(w unconfirmedWrite) bool { return w.attempt == attempt })
		return
	}
	for i, w := range u.writes[id] {
		if w.attempt == attempt {
			u.writes[id][i].until = now.Add(unconfirmedRetention)
			u.remembered++
		}
	}
}

// take says whether the attempt is among what is remembered of a grant. If so, it is now the write of the request that asks, which must say over
// for it: of two that try again only one can succeed.
func (u *unconfirmedWrites) adopt(id, attempt string, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !slices.ContainsFunc(u.writes[id], func(w unconfirmedWrite) bool { return w.attempt == attempt && now.Before(w.until) }) {
		return false
	}
	u.remove(id, func(unconfirmedWrite) bool { return true })
	u.writes[id] = []unconfirmedWrite{{attempt: attempt}}
	return true
}

// room says whether one more write of a grant can be remembered. What is too old makes room.
func (u *unconfirmedWrites) hasCapacity(id string, now time.Time) bool {
	old := func(w unconfirmedWrite) bool { return !w.until.IsZero() && !now.Before(w.until) }
	u.remove(id, old)
	if u.remembered >= maxUnconfirmed {
		for id := range u.writes {
			u.remove(id, old)
		}
	}
	ofOne := 0
	for _, w := range u.writes[id] {
		if !w.until.IsZero() {
			ofOne++
		}
	}
	return u.remembered < maxUnconfirmed && ofOne < maxUnconfirmedPerGrant
}

// remove those writes of a grant that which picks.
func (u *unconfirmedWrites) remove(id string, which func(unconfirmedWrite) bool) {
	left := slices.DeleteFunc(u.writes[id], func(w unconfirmedWrite) bool {
		if which(w) && !w.until.IsZero() {
			u.remembered--
		}
		return which(w)
	})
	if len(left) == 0 {
		delete(u.writes, id)
		return
	}
	u.writes[id] = left
}

// orphans are grants that may have begun although nobody was told of them.
type orphans struct {
	mu  sync.Mutex
	ids []string
}

// add a grant, if there is room.
func (o *orphans) add(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.ids) < maxUnconfirmed {
		o.ids = append(o.ids, id)
	}
}

// take one.
func (o *orphans) take() (id string, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.ids) == 0 {
		return "", false
	}
	id, o.ids = o.ids[0], o.ids[1:]
	return id, true
}
