package postgres

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	// share of the room for more grants that a replica may use up before it counts again. While no more than this many replicas run, they exceed
	// the bound together by no more than what is under way at one moment.
	share = 16
	// countEvery is how long a count is believed, and fullFor how long it is when there was no room.
	countEvery = 10 * time.Second
	fullFor    = time.Second
)

// countLive reads an index alone, and stops at the bound.
const countLive = `SELECT $1::BIGINT, COUNT(*) FROM (
	SELECT 1 FROM oauth_grants WHERE server_uid = $2 AND expires_at > $3 AND ended_at IS NULL LIMIT $4) AS live`

// census keeps the bound on live grants of a server, or that on its marks of a kind. A counter in the database would be a row that every login of every replica has to write;
// instead a replica counts now and then, and more often the less room there is.
type census struct {
	sql  string        // counts, for a server ($2), what has not expired at a time ($3), up to a limit ($4)
	turn chan struct{} // held by who counts

	mu    sync.Mutex
	max   int
	live  int       // as counted last
	room  int       // how many may be created before counting again
	full  bool      // there was no room
	until time.Time // when to count again at the latest; zero: now
}

// bound replaces the bound.
func (c *census) bound(limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.max, c.until = limit, time.Time{}
}

// forget what was counted, for it was another database.
func (c *census) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = time.Time{}
}

// left: a grant has ended. Where there was no room, there may be now.
func (c *census) left() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full {
		c.until = time.Time{}
	}
}

// enter says whether there is room for one more, as far as is known.
func (c *census) enter(now time.Time) (admitted, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !now.Before(c.until):
		return false, false
	case c.full:
		return false, true
	case c.room > 0:
		c.room--
		return true, true
	default:
		return false, false
	}
}

// counted takes note of a count.
func (c *census) counted(live int, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live = live
	c.full = live >= c.max
	c.room = max(1, (c.max-live)/share)
	c.until = now.Add(countEvery)
	if c.full {
		c.until = now.Add(fullFor)
	}
}

// last is how many were live when they were counted last.
func (c *census) last() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live
}

// warning is for who runs the server, near the bound; empty while there is room.
func (c *census) warning() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live < c.max-c.max/10 {
		return ""
	}
	return fmt.Sprintf("more than nine tenths of the %d grants that the server may have are live; at the bound no more can begin", c.max)
}

func (c *census) limit() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.max
}

// admit one more record that the census counts: nil, or ErrFull, or why it cannot be known whether there is room.
func (s *Store) admit(ctx context.Context, census *census) error {
	waiting, cancel := context.WithTimeout(ctx, s.options.CallTimeout)
	defer cancel()
	for {
		if admitted, known := census.enter(s.options.Now()); admitted {
			return nil
		} else if known {
			return storage.ErrFull
		}
		select {
		case census.turn <- struct{}{}:
		case <-waiting.Done():
			return fmt.Errorf("%w: the records could not be counted in time", storage.ErrUnavailable)
		}
		err := s.count(waiting, census)
		<-census.turn
		if err != nil {
			return err
		}
	}
}

// recount the live grants for those who watch their number. That it cannot be done, others will notice.
func (s *Store) recount(ctx context.Context) {
	select {
	case s.census.turn <- struct{}{}:
		s.census.forget()
		_ = s.count(ctx, &s.census) // see above
		<-s.census.turn
	case <-ctx.Done():
	}
}

// count what the census counts, unless another has done so meanwhile.
func (s *Store) count(ctx context.Context, census *census) error {
	now := s.options.Now()
	if census.fresh(now) {
		return nil
	}
	var live int
	err := s.call(ctx, reads, func(ctx context.Context, c *conn) error {
		return c.row(ctx, census.sql, []any{s.options.ServerUID, now.UTC(), census.limit()}, &live)
	})
	if err == nil {
		census.counted(live, now)
	}
	return err
}

// fresh says whether there is no need to count.
func (c *census) fresh(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Before(c.until) && (c.full || c.room > 0)
}
