package postgres

import (
	"context"
	"time"
)

const (
	// sweepBatch is how many rows one statement removes: few enough that it is done in time and blocks nobody.
	sweepBatch = 500
	// orphaned is how long after its expiry a row is removed by whichever server: its own is gone.
	orphaned = 24 * time.Hour
)

// sweeps remove a batch each of what has expired for this server ($1, $2), or long ago for any ($3). What was extended meanwhile stays.
var sweeps = []struct {
	sql   string
	count bool // it holds records; else it is only kept beside them
}{
	{`DELETE FROM oauth_grants WHERE expires_at <= $2 AND (server_uid, id) IN (
		SELECT server_uid, id FROM oauth_grants WHERE expires_at <= $2 AND (server_uid = $1 OR expires_at <= $3) ORDER BY expires_at LIMIT $4)`, true},
	{`DELETE FROM oauth_marks WHERE expires_at <= $2 AND (server_uid, kind, id) IN (
		SELECT server_uid, kind, id FROM oauth_marks WHERE expires_at <= $2 AND (server_uid = $1 OR expires_at <= $3) ORDER BY expires_at LIMIT $4)`, true},
	{`DELETE FROM oauth_pairs WHERE expires_at <= $2 AND (server_uid, user_uid, client_uid) IN (
		SELECT server_uid, user_uid, client_uid FROM oauth_pairs
		WHERE expires_at <= $2 AND (server_uid = $1 OR expires_at <= $3) ORDER BY expires_at LIMIT $4)`, false},
}

// Sweep implements storage.Store. Several replicas may sweep at once: each row is removed, and counted, by one of them.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	removed := 0
	for _, sweep := range sweeps {
		for {
			n, err := s.sweepOnce(ctx, sweep.sql, now)
			if sweep.count {
				removed += n
			}
			if err != nil {
				return removed, err
			}
			if n < sweepBatch {
				break
			}
		}
	}
	return removed, nil
}

func (s *Store) sweepOnce(ctx context.Context, sql string, now time.Time) (int, error) {
	removed := 0
	err := s.call(ctx, writes, func(ctx context.Context, c *conn) error {
		tag, err := c.Exec(ctx, sql, s.options.ServerUID, now.UTC(), now.Add(-orphaned).UTC(), sweepBatch)
		if err != nil {
			return err
		}
		removed = int(tag.RowsAffected())
		return c.inStep(ctx)
	})
	return removed, err
}
