package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	// sweepBatch is how many rows one statement changes: few enough that it ends in time and blocks
	// no other statement for long.
	sweepBatch = 500
	// abandonedAfter is how long after its expiry any server removes a row: the row's own server no
	// longer exists.
	abandonedAfter = 24 * time.Hour
)

// sweeps are the statements of Sweep.
var sweeps = []struct {
	statement string
	isRecord  bool // reports whether the rows count as removed records
}{
	{deleteExpired("oauth_grants", "server_uid, id"), true},
	{deleteExpired("oauth_marks", "server_uid, kind, id"), true},
	{deleteExpired("oauth_pairs", "server_uid, user_uid, client_uid"), false},
}

// deleteExpired returns a statement that deletes a batch of expired rows: of this server, and
// abandoned ones of any. A row that is extended while the statement runs stays.
func deleteExpired(table, key string) string {
	return `DELETE FROM ` + table + ` WHERE expires_at <= @now AND (` + key + `) IN (
		SELECT ` + key + ` FROM ` + table + `
		WHERE expires_at <= @now AND (server_uid = @server_uid OR expires_at <= @abandoned) ORDER BY expires_at LIMIT @limit)`
}

// endUnconsented ends a batch of grants whose consent was deleted, or replaced by a later one.
var endUnconsented = `UPDATE oauth_grants
	SET ended_at = @now, end_reason = @end_reason, expires_at = LEAST(expires_at, @kept_until), version = @version
	WHERE server_uid = @server_uid AND ended_at IS NULL AND id IN (
		SELECT g.id FROM oauth_grants AS g
		LEFT JOIN oauth_consents AS c ON c.server_uid = g.server_uid AND c.user_uid = g.user_uid AND c.client_uid = g.client_uid
			AND c.uid = g.consent_uid AND g.consent_uid <> ''
		WHERE g.server_uid = @server_uid AND g.consented AND g.ended_at IS NULL AND g.expires_at > @now AND c.uid IS NULL LIMIT @limit)
	RETURNING ` + grantColumnNames

// endUnconsentedGrants ends the grants that rest on a consent that no longer exists. It may come
// late: every use of a grant checks whether its consent exists.
func (s *Store) endUnconsentedGrants(ctx context.Context) error {
	for {
		version, err := s.newVersion()
		if err != nil {
			return err
		}
		now := s.options.Now().UTC()
		var ended []storage.Grant
		err = s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
			ended, err = queryGrants(ctx, c, endUnconsented, pgx.StrictNamedArgs{
				"server_uid": s.options.ServerUID, "now": now, "end_reason": storage.EndConsentWithdrawn,
				"kept_until": now.Add(storage.EndedRetention), "version": version, "limit": sweepBatch,
			})
			return err
		})
		for _, g := range ended {
			s.NotifyEnd(ctx, g)
		}
		if len(ended) > 0 {
			s.liveGrants.invalidateIfFull()
		}
		if err != nil || len(ended) < sweepBatch {
			return err
		}
	}
}

// Sweep implements storage.Store. Replicas may sweep at the same time: each row is removed, and
// counted, by one of them.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	if err := s.endUnconsentedGrants(ctx); err != nil {
		return 0, err
	}
	removed := 0
	for _, sweep := range sweeps {
		for {
			n, err := s.deleteBatch(ctx, sweep.statement, now)
			if sweep.isRecord {
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
	idle, err := s.sweepIdentities(ctx, now)
	return removed + idle, err
}

// deleteBatch executes one of the sweeps, and returns how many rows it deleted.
func (s *Store) deleteBatch(ctx context.Context, statement string, now time.Time) (deleted int, err error) {
	err = s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, statement, pgx.StrictNamedArgs{
			"server_uid": s.options.ServerUID, "now": now.UTC(), "abandoned": now.Add(-abandonedAfter).UTC(), "limit": sweepBatch,
		})
		deleted = int(tag.RowsAffected())
		return err
	})
	return deleted, err
}
