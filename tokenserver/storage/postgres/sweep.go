package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	// sweepBatch is how many rows one statement reads: few enough that it ends in time and blocks no
	// other statement for long.
	sweepBatch = 500
	// maxBatches is how many batches of one kind a sweep handles at most, so that none keeps the
	// others waiting. What is left is for the next sweep.
	maxBatches = 200
	// abandonedAfter is how long after its expiry any server removes a row: the row's own server no
	// longer exists. Such rows are looked for every abandonedInterval.
	abandonedAfter    = 24 * time.Hour
	abandonedInterval = time.Hour
)

// claimSweep changes a row if the replica may sweep: it did last, or no replica has for a while. The
// replicas compare the times of one clock, that of the database.
const claimSweep = `INSERT INTO oauth_sweeps (server_uid, holder, claimed_at) VALUES (@server_uid, @holder, now())
	ON CONFLICT (server_uid) DO UPDATE SET holder = excluded.holder, claimed_at = excluded.claimed_at
	WHERE oauth_sweeps.holder = excluded.holder OR oauth_sweeps.claimed_at < now() - INTERVAL '150 seconds'`

// sweepState is what one sweep leaves for the next.
type sweepState struct {
	mu sync.Mutex
	// lookedForAbandoned is when rows of other servers were looked for last.
	lookedForAbandoned time.Time
	// grants and identities are how far the walks through them have come.
	grants     string
	identities identityPosition
}

// sweptTable is a table whose rows expire. Its statements handle what has expired at @until among
// the first @limit rows of a server that are due.
type sweptTable struct {
	name string
	// postpone moves rows on that are due and have not expired; empty if there are none.
	postpone string
	delete   string
	isRecord bool // reports whether the rows count as removed records
}

var sweptTables = []sweptTable{
	{"oauth_grants", postponeDue, deleteDue, true},
	{"oauth_marks", "", deleteExpired("oauth_marks", "kind, id"), true},
	{"oauth_pairs", "", deleteExpired("oauth_pairs", "user_uid, client_uid"), false},
}

// A grant that is extended while one of the statements runs is left as it is.
const (
	dueGrants = `(SELECT id FROM oauth_grants WHERE server_uid = @server_uid AND due_at <= @until ORDER BY due_at LIMIT @limit)`

	postponeDue = `UPDATE oauth_grants SET due_at = expires_at
		WHERE server_uid = @server_uid AND due_at <= @until AND expires_at > @until AND id IN ` + dueGrants

	// correctDue corrects what an earlier version of the program does when it ends a grant or shortens
	// its life, among the grants after @after: it knows expires_at alone.
	correctDue = `UPDATE oauth_grants SET due_at = expires_at WHERE server_uid = @server_uid AND due_at > expires_at AND id IN (
		SELECT id FROM oauth_grants WHERE server_uid = @server_uid AND id > @after ORDER BY id LIMIT @limit)`

	deleteDue = `DELETE FROM oauth_grants WHERE server_uid = @server_uid AND expires_at <= @until AND id IN ` + dueGrants
)

func deleteExpired(table, key string) string {
	return `DELETE FROM ` + table + ` WHERE server_uid = @server_uid AND expires_at <= @until AND (` + key + `) IN (
		SELECT ` + key + ` FROM ` + table + ` WHERE server_uid = @server_uid AND expires_at <= @until ORDER BY expires_at LIMIT @limit)`
}

// nextServer returns a statement that reads the next server that has rows in a table.
func nextServer(table string) string {
	return `SELECT server_uid FROM ` + table + ` WHERE server_uid > @after ORDER BY server_uid LIMIT 1`
}

// Sweep implements storage.Store. Of several replicas one sweeps; the others return at once, and one
// of them takes over when it has not swept for a while. A step that fails does not keep the others
// from being done.
func (s *Store) Sweep(ctx context.Context, now time.Time) (removed int, err error) {
	s.sweeping.mu.Lock()
	defer s.sweeping.mu.Unlock()
	mine, err := s.claimSweep(ctx)
	if err != nil || !mine {
		return 0, err
	}
	var failed []error
	add := func(step string, n int, err error) {
		removed += n
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", step, err))
		}
	}
	for _, table := range sweptTables {
		n, err := s.sweepTable(ctx, table, s.options.ServerUID, now)
		add("sweeping "+table.name, n, err)
	}
	n, err := s.sweepIdentities(ctx, now)
	add("sweeping oauth_identities", n, err)
	add("examining grants", 0, s.examineGrants(ctx))
	if now.Sub(s.sweeping.lookedForAbandoned) >= abandonedInterval {
		s.sweeping.lookedForAbandoned = now
		for _, table := range sweptTables {
			n, err := s.sweepAbandoned(ctx, table, now)
			add("sweeping what other servers left in "+table.name, n, err)
		}
	}
	return removed, errors.Join(failed...)
}

// claimSweep reports whether this replica is the one that sweeps.
func (s *Store) claimSweep(ctx context.Context) (mine bool, err error) {
	n, err := s.execCounting(ctx, claimSweep, pgx.StrictNamedArgs{"server_uid": s.options.ServerUID, "holder": s.replicaID})
	return n > 0, err
}

// sweepTable removes the rows of a server that have expired at until, and returns how many records
// that were. It reads no others, except once those that were extended since they became due.
func (s *Store) sweepTable(ctx context.Context, table sweptTable, serverUID string, until time.Time) (removed int, err error) {
	args := pgx.StrictNamedArgs{"server_uid": serverUID, "until": until.UTC(), "limit": sweepBatch}
	for range maxBatches {
		postponed := 0
		if table.postpone != "" {
			if postponed, err = s.execCounting(ctx, table.postpone, args); err != nil {
				return removed, err
			}
		}
		deleted, err := s.execCounting(ctx, table.delete, args)
		if table.isRecord {
			removed += deleted
		}
		if err != nil || postponed+deleted < sweepBatch {
			return removed, err
		}
	}
	return removed, nil
}

// sweepAbandoned is sweepTable for servers that have left rows for so long that they no longer exist.
func (s *Store) sweepAbandoned(ctx context.Context, table sweptTable, now time.Time) (removed int, err error) {
	var server string
	for {
		err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			err := c.QueryRow(ctx, nextServer(table.name), pgx.StrictNamedArgs{"after": server}).Scan(&server)
			if errors.Is(err, pgx.ErrNoRows) {
				return storage.ErrNotFound
			}
			return err
		})
		if errors.Is(err, storage.ErrNotFound) {
			return removed, nil
		}
		if err != nil {
			return removed, err
		}
		if server == s.options.ServerUID {
			continue
		}
		n, err := s.sweepTable(ctx, table, server, now.Add(-abandonedAfter))
		removed += n
		if err != nil {
			return removed, err
		}
	}
}

// execCounting executes a statement, and returns how many rows it changed.
func (s *Store) execCounting(ctx context.Context, statement string, args pgx.StrictNamedArgs) (changed int, err error) {
	err = s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, statement, args)
		changed = int(tag.RowsAffected())
		return err
	})
	return changed, err
}
