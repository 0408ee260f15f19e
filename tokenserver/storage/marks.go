package storage

import (
	"cmp"
	"container/heap"
	"sync"
	"time"
)

// MarkKind says what a Mark is about.
type MarkKind string

const (
	// MarkToken: the access token with this id was revoked.
	MarkToken MarkKind = "token"
	// MarkSession: the sessions whose root has this hash have ended.
	MarkSession MarkKind = "session"
)

// Mark is something that is not good any more, remembered for a while. Kind and ID name it.
type Mark struct {
	Kind MarkKind
	ID   string
	// UserUID, ClientUID and Namespace, which is the client's, say whose mark it is; what does not
	// apply is empty.
	UserUID   string
	ClientUID string
	Namespace string
	// ExpiresAt is when the mark means nothing any more.
	ExpiresAt time.Time
}

// MarkBounds are how many marks of a kind may hold at once; zero: any number. At a bound a new mark is
// refused with ErrFull, so that one user, client or namespace leaves room for all others.
type MarkBounds struct{ OfUserAndClient, OfClient, OfNamespace, OfServer int }

// BoundsOf are the bounds on marks of a kind. There are none on those of ended sessions, since ending a
// session must always be possible; the logins that lead to them are bounded instead.
func BoundsOf(kind MarkKind) MarkBounds {
	if kind == MarkToken {
		return MarkBounds{OfUserAndClient: 100, OfClient: 1_000, OfNamespace: 10_000, OfServer: 100_000}
	}
	return MarkBounds{}
}

// Places counts marks against their bounds, for a store that has all of them in memory. Each mark has a
// key that its owner chose, and counts until it expires. The zero value is empty, with the bounds of
// BoundsOf. It is safe for concurrent use.
type Places struct {
	mu     sync.Mutex
	bounds map[MarkKind]MarkBounds // in place of those of BoundsOf
	marks  map[string]placed       // by key
	taken  map[place]int
	queue  expiries
}

// placed is a mark that has its places. It is settled once it is known that it was written.
type placed struct {
	mark    Mark
	settled bool
}

// place is what marks are counted by: those fields of a mark that are set here.
type place struct {
	kind                    MarkKind
	user, client, namespace string
}

// Bound replaces the bounds on a kind.
func (p *Places) Bound(kind MarkKind, bounds MarkBounds) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bounds == nil {
		p.bounds = map[MarkKind]MarkBounds{}
	}
	p.bounds[kind] = bounds
}

// Take a place for a mark that is about to be written, so that what is written in parallel counts.
// ErrFull at a bound. It reports false if the key has its place already.
func (p *Places) Take(key string, m Mark, now time.Time) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(now)
	if _, ok := p.marks[key]; ok {
		return false, nil
	}
	bounds, ok := p.bounds[m.Kind]
	if !ok {
		bounds = BoundsOf(m.Kind)
	}
	for of, bound := range bounded(m, bounds) {
		if bound > 0 && p.taken[of] >= bound {
			return false, ErrFull
		}
	}
	p.put(key, placed{mark: m})
	return true, nil
}

// Return the place of a mark that was not written after all.
func (p *Places) Return(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.marks[key].settled {
		p.drop(key)
	}
}

// Put counts a mark that exists, whatever the bounds, in place of an earlier one with the key.
func (p *Places) Put(key string, m Mark) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.put(key, placed{m, true})
}

// Drop a mark that is gone.
func (p *Places) Drop(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(key)
}

// Replace all marks that are known to have been written.
func (p *Places) Replace(marks map[string]Mark) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, held := range p.marks {
		if _, ok := marks[key]; !ok && held.settled {
			p.drop(key)
		}
	}
	for key, m := range marks {
		p.put(key, placed{m, true})
	}
}

// OfUser counts the marks of a kind that a user has.
func (p *Places) OfUser(kind MarkKind, userUID string, now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(now)
	return p.taken[place{kind: kind, user: userUID}]
}

// bounded are the places that a mark takes, and their bounds. Zero is none, for a place that is only counted.
func bounded(m Mark, bounds MarkBounds) map[place]int {
	of := map[place]int{{kind: m.Kind}: bounds.OfServer}
	if m.UserUID != "" {
		of[place{kind: m.Kind, user: m.UserUID}] = 0
	}
	if m.ClientUID != "" {
		of[place{kind: m.Kind, client: m.ClientUID}] = bounds.OfClient
	}
	if m.UserUID != "" && m.ClientUID != "" {
		of[place{kind: m.Kind, user: m.UserUID, client: m.ClientUID}] = bounds.OfUserAndClient
	}
	if m.Namespace != "" {
		of[place{kind: m.Kind, namespace: m.Namespace}] = bounds.OfNamespace
	}
	return of
}

func (p *Places) put(key string, held placed) {
	if p.marks == nil {
		p.marks, p.taken = map[string]placed{}, map[place]int{}
	}
	before, queued := p.marks[key]
	queued = queued && before.mark.ExpiresAt.Equal(held.mark.ExpiresAt)
	p.drop(key)
	p.marks[key] = held
	for of := range bounded(held.mark, MarkBounds{}) {
		p.taken[of]++
	}
	if !queued {
		heap.Push(&p.queue, expiry{key, held.mark.ExpiresAt})
	}
}

func (p *Places) drop(key string) {
	held, ok := p.marks[key]
	if !ok {
		return
	}
	delete(p.marks, key)
	for of := range bounded(held.mark, MarkBounds{}) {
		if p.taken[of]--; p.taken[of] == 0 {
			delete(p.taken, of)
		}
	}
}

// expire drops what has expired. What was dropped or replaced since is still in the queue, with the time that it had.
func (p *Places) expire(now time.Time) {
	for len(p.queue) > 0 && !now.Before(p.queue[0].at) {
		due := heap.Pop(&p.queue).(expiry) //nolint:forcetypeassert // expiries holds nothing else
		if held, ok := p.marks[due.key]; ok && held.mark.ExpiresAt.Equal(due.at) {
			p.drop(due.key)
		}
	}
}

// expiry of the mark with a key.
type expiry struct {
	key string
	at  time.Time
}

// expiries is a heap.Interface, the earliest first.
type expiries []expiry

func (e expiries) Len() int { return len(e) }
func (e expiries) Less(i, j int) bool {
	return cmp.Or(e[i].at.Compare(e[j].at), cmp.Compare(e[i].key, e[j].key)) < 0
}
func (e expiries) Swap(i, j int) { e[i], e[j] = e[j], e[i] }

// Push implements heap.Interface.
func (e *expiries) Push(x any) { *e = append(*e, x.(expiry)) } //nolint:forcetypeassert // as above

// Pop implements heap.Interface.
func (e *expiries) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}
