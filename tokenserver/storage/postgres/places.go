package postgres

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// shortageMemory is how long after its last sign a shortage of connections is reported.
const shortageMemory = time.Minute

// places are how many calls may have a connection at once: as many as the pool may have, and fewer
// while the database accepts no more. The pool would open a connection for each call that finds none
// idle, and fail where it could have waited a millisecond for one.
//
// Writes have four fifths of them. A write to which the database does not answer keeps its place when
// its call is over, since the database keeps the connection: reads have the rest then.
type places struct {
	free   chan struct{} // an element for each call that may have one
	writes chan struct{} // an element for each of them that may write
	// unanswered is how many writes have a place and no answer, while their call is over.
	unanswered atomic.Int64

	mu         sync.Mutex
	withheld   int
	shortUntil time.Time
}

func newPlaces(n int) *places {
	p := &places{free: make(chan struct{}, n), writes: make(chan struct{}, max(1, n-max(1, n/5)))}
	for range n {
		p.free <- struct{}{}
	}
	for range cap(p.writes) {
		p.writes <- struct{}{}
	}
	return p
}

// size returns how many there are where the database accepts all connections.
func (p *places) size() int { return cap(p.free) }

// take takes a place, and waits for one until ctx ends. It returns errUnanswered at once while all
// that are for writes are kept by such.
func (p *places) take(ctx context.Context, isWrite bool) error {
	if isWrite {
		if int(p.unanswered.Load()) >= cap(p.writes) {
			return errUnanswered
		}
		select {
		case <-p.writes:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case <-p.free:
		return nil
	case <-ctx.Done():
		p.giveBackWrite(isWrite)
		return ctx.Err()
	}
}

// giveBack gives a place back that was taken.
func (p *places) giveBack(isWrite bool) {
	p.free <- struct{}{}
	p.giveBackWrite(isWrite)
}

func (p *places) giveBackWrite(isWrite bool) {
	if isWrite {
		p.writes <- struct{}{}
	}
}

// release releases a connection and gives its place back, and not before it is closed if it is being
// closed. See neverCancel.
func (p *places) release(c *pgxpool.Conn, isWrite bool) {
	conn := c.Conn().PgConn()
	isClosed := conn.IsClosed()
	c.Release() // another call may have it from here on
	if !isClosed {
		p.giveBack(isWrite)
		return
	}
	select {
	case <-conn.CleanupDone():
		p.giveBack(isWrite)
		return
	default:
	}
	if isWrite {
		p.unanswered.Add(1)
	}
	go func() {
		<-conn.CleanupDone()
		if isWrite {
			p.unanswered.Add(-1)
		}
		p.giveBack(isWrite)
	}()
}

// withhold keeps a place that was taken and for which the database has no connection. It reports
// false for the last one.
func (p *places) withhold(now time.Time, isWrite bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shortUntil = now.Add(shortageMemory)
	if p.withheld == cap(p.free)-1 {
		return false
	}
	p.withheld++
	p.giveBackWrite(isWrite)
	return true
}

// restore gives one of the places back that were withheld, which tries whether the database accepts a
// connection more.
func (p *places) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.withheld > 0 {
		p.withheld--
		p.free <- struct{}{}
	}
}

// isShort reports whether the database has accepted too few connections lately.
func (p *places) isShort(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Before(p.shortUntil)
}
