// Package places bounds how many requests ask another server at once, how many more wait for that, and
// how much of both one user or one address may have. Any client can make this server ask others, with a
// right password as well as with a wrong one.
package places

import (
	"context"
	"errors"
	"sync"
)

// ErrBusy is returned if there is no place. A later request may find one.
var ErrBusy = errors.New("too many requests wait for another server")

// Quota limits how many places all requests of one key may have together.
type Quota struct {
	key    string
	places int // 0: a quarter of all
}

// FixedQuota returns a quota of n places.
func FixedQuota(key string, n int) Quota { return Quota{key, n} }

// QuarterQuota returns a quota of a quarter of all places.
func QuarterQuota(key string) Quota { return Quota{key: key} }

// Queue has the places of the requests to one server, first come, first served. A quarter more is a
// reserve. Safe for concurrent use.
type Queue struct {
	asking chan struct{}
	places int

	mu       sync.Mutex
	common   int // in use
	reserved int // in use, of the reserve
	byKey    map[string]int
}

// NewQueue returns a Queue in which so many requests ask at once, and so many more wait for that.
func NewQueue(asking, waiting int) *Queue {
	return &Queue{asking: make(chan struct{}, asking), places: asking + waiting, byKey: map[string]int{}}
}

// Request is what a request for a place counts in.
type Request struct {
	Quotas []Quota
	// UseReserve lets the request into the reserve of a full queue.
	UseReserve bool
}

// Enter takes a place by the first of the requests for which there is one, and waits until it is its
// turn. It returns ErrBusy if there is no place, or if ctx ends first.
func (q *Queue) Enter(ctx context.Context, requests ...Request) (leave func(), err error) {
	free, ok := q.take(requests)
	if !ok {
		return nil, ErrBusy
	}
	select {
	case q.asking <- struct{}{}:
		return func() { <-q.asking; free() }, nil
	case <-ctx.Done():
		free()
		return nil, ErrBusy
	}
}

// take takes a place, and returns how to free it; false if there is none.
func (q *Queue) take(requests []Request) (free func(), ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range requests {
		if part := q.partFor(r); part != nil {
			*part++
			for _, quota := range r.Quotas {
				q.byKey[quota.key]++
			}
			return func() { q.free(part, r.Quotas) }, true
		}
	}
	return nil, false
}

// partFor returns the count of those places of which a request may have one; nil if it may have none.
// The caller holds the lock.
func (q *Queue) partFor(r Request) *int {
	for _, quota := range r.Quotas {
		if q.byKey[quota.key] >= quota.limit(q.places) {
			return nil
		}
	}
	switch {
	case q.common < q.places:
		return &q.common
	case r.UseReserve && q.reserved < quarter(q.places):
		return &q.reserved
	}
	return nil
}

func (q *Queue) free(part *int, quotas []Quota) {
	q.mu.Lock()
	defer q.mu.Unlock()
	*part--
	for _, quota := range quotas {
		if q.byKey[quota.key]--; q.byKey[quota.key] == 0 {
			delete(q.byKey, quota.key)
		}
	}
}

func (quota Quota) limit(places int) int {
	if quota.places == 0 {
		return quarter(places)
	}
	return quota.places
}

func quarter(places int) int { return max(places/4, 1) }
