package postgres

import (
	"context"
	"sync"
	"time"
)

// shortageMemory is how long after its last sign a shortage of connections is reported.
const shortageMemory = time.Minute

// places are how many calls may have a connection at once: as many as the pool may have, and fewer
// while the database accepts no more. The pool would open a connection for each call that finds none
// idle, and fail where it could have waited a millisecond for one.
type places struct {
	free chan struct{} // an element for each call that may have one

	mu         sync.Mutex
	withheld   int
	shortUntil time.Time
}

func newPlaces(n int) *places {
	p := &places{free: make(chan struct{}, n)}
	for range n {
		p.free <- struct{}{}
	}
	return p
}

// size returns how many there are where the database accepts all connections.
func (p *places) size() int { return cap(p.free) }

// take takes a place, and waits for one until ctx ends.
func (p *places) take(ctx context.Context) error {
	select {
	case <-p.free:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// giveBack gives a place back that was taken.
func (p *places) giveBack() { p.free <- struct{}{} }

// withhold keeps a place that was taken and for which the database has no connection. It reports
// false for the last one.
func (p *places) withhold(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shortUntil = now.Add(shortageMemory)
	if p.withheld == cap(p.free)-1 {
		return false
	}
	p.withheld++
	return true
}

// restore gives one of the places back that were withheld, which tries whether the database accepts a
// connection more.
func (p *places) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.withheld > 0 {
		p.withheld--
		p.giveBack()
	}
}

// isShort reports whether the database has accepted too few connections lately.
func (p *places) isShort(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Before(p.shortUntil)
}
