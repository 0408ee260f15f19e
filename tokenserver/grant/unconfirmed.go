package grant

import (
	"slices"
	"sync"
	"time"
)

// unconfirmedWrites remembers the writes whose outcome a request could not find out. The client got
// a 503, although the write may have happened. When the client retries and finds the record as such
// a write has left it, the record is its own: no other answer was given for it, so the retry is no
// replay. Once the client has been answered, all writes of the grant are forgotten: another use of
// the old code or token is then a replay.
//
// Each process has a memory of its own, which has two consequences when the store was unavailable
// at the wrong moment:
//   - A client whose write happened, and which retries at another replica with a code, or with a
//     refresh token after the grace period (which outages extend), is taken for a replay: its grant
//     ends, and the user has to authorize it again.
//   - In the grace period another replica answers a retry without a write, which this process does
//     not notice. It accepts the replaced token once more, from any holder, until the next token is
//     used or the write is too old.
type unconfirmedWrites struct {
	mu         sync.Mutex
	writes     map[string][]unconfirmedWrite // by the id of the grant
	remembered int                           // how many writes are kept after their request
}

type unconfirmedWrite struct {
	attempt string
	// until is when the write is forgotten; zero while its request is running.
	until time.Time
}

const (
	// unconfirmedRetention is how long a write is remembered. No code lives longer, and few clients
	// retry later than that.
	unconfirmedRetention = maxCodeLifetime
	maxUnconfirmed       = 10_000
	// maxUnconfirmedPerGrant bounds the writes of a client that keeps retrying while the store is
	// unavailable. At most one of them has happened.
	maxUnconfirmedPerGrant = 64
)

// begin records that a request is about to write with the attempt. The caller must call finish.
func (u *unconfirmedWrites) begin(id, attempt string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.writes == nil {
		u.writes = map[string][]unconfirmedWrite{}
	}
	u.writes[id] = append(u.writes[id], unconfirmedWrite{attempt: attempt})
}

// finish records the result of a request. MaybeWritten reports whether its write may have happened.
// If another request for the grant has succeeded since begin, there is nothing to remember.
func (u *unconfirmedWrites) finish(id, attempt string, err error, maybeWritten bool, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err == nil {
		u.remove(id, func(unconfirmedWrite) bool { return true })
		return
	}
	if !maybeWritten || isRefused(err) || !u.hasCapacity(id, now) {
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

// adopt reports whether the attempt is a remembered write of the grant. If so, the write now
// belongs to the caller, which must call finish for it: of two retries only one can succeed.
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

// hasCapacity removes writes that are too old, and reports whether one more of the grant can be
// remembered.
func (u *unconfirmedWrites) hasCapacity(id string, now time.Time) bool {
	isOld := func(w unconfirmedWrite) bool { return !w.until.IsZero() && !now.Before(w.until) }
	u.remove(id, isOld)
	if u.remembered >= maxUnconfirmed {
		for id := range u.writes {
			u.remove(id, isOld)
		}
	}
	ofGrant := 0
	for _, w := range u.writes[id] {
		if !w.until.IsZero() {
			ofGrant++
		}
	}
	return u.remembered < maxUnconfirmed && ofGrant < maxUnconfirmedPerGrant
}

// remove removes the writes of a grant for which matches returns true.
func (u *unconfirmedWrites) remove(id string, matches func(unconfirmedWrite) bool) {
	left := slices.DeleteFunc(u.writes[id], func(w unconfirmedWrite) bool {
		if matches(w) && !w.until.IsZero() {
			u.remembered--
		}
		return matches(w)
	})
	if len(left) == 0 {
		delete(u.writes, id)
		return
	}
	u.writes[id] = left
}
