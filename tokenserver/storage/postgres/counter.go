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
	// counts again. Up to this many replicas that count at one moment do not exceed the bound together.
	// One that uses its share later than others count, within countInterval, exceeds it by as much.
	replicasWithinBound = 16
	// countInterval is how long a count is trusted, and fullInterval how long a count that found
	// the bound reached.
	countInterval = 10 * time.Second
	fullInterval  = time.Second
)

// countLiveGrants is an index-only scan that stops at the bound, but for the grants that are due and
// that the sweep has not seen yet.
const countLiveGrants = `SELECT COUNT(*) FROM (
	SELECT 1 FROM oauth_grants WHERE server_uid = @server_uid AND due_at > @now AND ended_at IS NULL
	UNION ALL
	SELECT 1 FROM oauth_grants WHERE server_uid = @server_uid AND due_at <= @now AND expires_at > @now AND ended_at IS NULL
	LIMIT @limit) AS live`

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
// first; err is ErrFull at the bound.
func (c *recordCounter) reserve(now time.Time) (known bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !now.Before(c.validUntil) || !c.full && c.remaining == 0 {
		return false, nil
	}
	if c.full {
		return true, storage.ErrFull
	}
	c.remaining--
	return true, nil
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

// isNearBound reports whether a count is more than nine tenths of the bound.
func (c *recordCounter) isNearBound(counted int) bool { return isNear(counted, c.currentBound()) }

func isNear(counted, bound int) bool { return counted >= bound-bound/10 }

// grantsWarning returns a sentence for the server's condition when more than nine tenths of the
// bound on grants are used, and else "".
func (c *recordCounter) grantsWarning() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !isNear(c.counted, c.bound) {
		return ""
	}
	return fmt.Sprintf("more than nine tenths of the %d grants that this server may have are live, and at the bound no more can begin: "+
		"shorten the lifetimes in spec.tokens.refreshToken", c.bound)
}

// reserveRecord takes a place for one more record of the counter, and counts first if necessary.
// It returns ErrFull at the bound, and ErrUnavailable if the records cannot be counted.
func (s *Store) reserveRecord(ctx context.Context, counter *recordCounter) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.CallTimeout)
	defer cancel()
	if known, err := counter.reserve(s.options.Now()); known {
		return err
	}
	select {
	case counter.counting <- struct{}{}:
		defer func() { <-counter.counting }()
	case <-ctx.Done():
		return fmt.Errorf("%w: the records could not be counted in time", storage.ErrUnavailable)
	}
	for { // another goroutine may have counted meanwhile, or have taken the places that were left
		if known, err := counter.reserve(s.options.Now()); known {
			return err
		}
		if err := s.countRecords(ctx, counter); err != nil {
			return err
		}
	}
}

// recountGrants counts the live grants for the metric and the condition. An error is not reported
// here: a creation that has to count reports it.
func (s *Store) recountGrants(ctx context.Context) {
	select {
	case s.liveGrants.counting <- struct{}{}:
		_ = s.countRecords(ctx, s.liveGrants) // see above
		<-s.liveGrants.counting
	case <-ctx.Done():
	}
}

// countRecords counts the records of the counter. The caller holds counting.
func (s *Store) countRecords(ctx context.Context, counter *recordCounter) error {
	now := s.options.Now()
	var counted int
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		args := pgx.StrictNamedArgs{"server_uid": s.options.ServerUID, "now": now.UTC(), "limit": counter.currentBound()}
		return c.QueryRow(ctx, counter.sql, args).Scan(&counted)
	})
	if err == nil && counter == s.liveGrants && counter.isNearBound(counted) {
		counted, err = s.countNotVoid(ctx, now, counted)
	}
	if err == nil {
		counter.setCount(counted, now)
	}
	return err
}
