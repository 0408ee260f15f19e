package postgres

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	// replicasWithinBound is the divisor of the remaining capacity that a replica may use before it
	// counts again. Up to this many replicas exceed the bound together by no more than the calls
	// that are under way at one moment.
	replicasWithinBound = 16
	// countInterval is how long a count is trusted, and fullInterval how long a count that found
	// the bound reached.
	countInterval = 10 * time.Second
	fullInterval  = time.Second
)

// countLiveGrants is an index-only scan that stops at the bound.
const countLiveGrants = `SELECT COUNT(*) FROM (SELECT 1 FROM oauth_grants
	WHERE server_uid = @server_uid AND expires_at > @now AND ended_at IS NULL LIMIT @limit) AS live`

// recordCounter keeps a bound on the records of a server that sql counts. A counter in the database
// would be a row that every login at every replica has to write, and counting at every creation
// reads up to 100,000 index entries. So a replica counts now and then, and more often the less
// capacity is left.
type recordCounter struct {
	sql      string        // takes @server_uid, @now and @limit, and returns at most @limit
	counting chan struct{} // of capacity 1; holds an element while a goroutine counts

	mu         sync.Mutex
	bound      int
	counted    int       // the last count
	remaining  int       // how many may be created before the next count
	full       bool      // the last count reached the bound
	validUntil time.Time // when to count again at the latest; zero: before the next creation
}

func newRecordCounter(sql string) *recordCounter {
	return &recordCounter{sql: sql, counting: make(chan struct{}, 1)}
}

// setBound replaces the bound.
func (c *recordCounter) setBound(bound int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bound, c.validUntil = bound, time.Time{}
}

// invalidate makes the next creation count again.
func (c *recordCounter) invalidate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.validUntil = time.Time{}
}

// invalidateIfFull makes the next creation count again if the last count reached the bound: a
// record has ended since.
func (c *recordCounter) invalidateIfFull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full {
		c.validUntil = time.Time{}
	}
}

// reserve takes one of the remaining places. Known is false if the records have to be counted
// first.
func (c *recordCounter) reserve(now time.Time) (reserved, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !now.Before(c.validUntil):
		return false, false
	case c.full:
		return false, true
	case c.remaining > 0:
		c.remaining--
		return true, true
	default:
		return false, false
	}
}

// setCount stores a count that was made at now.
func (c *recordCounter) setCount(counted int, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counted = counted
	c.full = counted >= c.bound
	c.remaining = max(1, (c.bound-counted)/replicasWithinBound)
	c.validUntil = now.Add(countInterval)
	if c.full {
		c.validUntil = now.Add(fullInterval)
	}
}

// needsCount reports whether reserve would ask for a count.
func (c *recordCounter) needsCount(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !now.Before(c.validUntil) || !c.full && c.remaining == 0
}

// lastCount returns the last count.
func (c *recordCounter) lastCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counted
}

// currentBound returns the bound.
func (c *recordCounter) currentBound() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bound
}

// grantsWarning returns a sentence for the server's condition when more than nine tenths of the
// bound on grants are used, and else "".
func (c *recordCounter) grantsWarning() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counted < c.bound-c.bound/10 {
		return ""
	}
	return fmt.Sprintf("more than nine tenths of the %d grants that the server may have are live; at the bound no more can begin", c.bound)
}

// reserveRecord takes a place for one more record of the counter, and counts first if necessary.
// It returns ErrFull at the bound, and ErrUnavailable if the records cannot be counted.
func (s *Store) reserveRecord(ctx context.Context, counter *recordCounter) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.CallTimeout)
	defer cancel()
	for {
		if reserved, known := counter.reserve(s.options.Now()); reserved {
			return nil
		} else if known {
			return storage.ErrFull
		}
		select {
		case counter.counting <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("%w: the records could not be counted in time", storage.ErrUnavailable)
		}
		err := s.countRecords(ctx, counter)
		<-counter.counting
		if err != nil {
			return err
		}
	}
}

// recountGrants counts the live grants for the metric and the condition. An error is not reported:
// the next creation counts again and reports it.
func (s *Store) recountGrants(ctx context.Context) {
	select {
	case s.liveGrants.counting <- struct{}{}:
		s.liveGrants.invalidate()
		_ = s.countRecords(ctx, s.liveGrants) // see above
		<-s.liveGrants.counting
	case <-ctx.Done():
	}
}

// countRecords counts the records of the counter, unless another goroutine has counted meanwhile.
func (s *Store) countRecords(ctx context.Context, counter *recordCounter) error {
	now := s.options.Now()
	if !counter.needsCount(now) {
		return nil
	}
	var counted int
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		args := pgx.StrictNamedArgs{"server_uid": s.options.ServerUID, "now": now.UTC(), "limit": counter.currentBound()}
		return c.QueryRow(ctx, counter.sql, args).Scan(&counted)
	})
	if err == nil {
		counter.setCount(counted, now)
	}
	return err
}
