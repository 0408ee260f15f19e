package postgres

import (
	"context"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
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

// endUnconsented ends a batch of what rests on a consent that is not there: the row was deleted, or
// replaced by a consent that was given later.
const endUnconsented = `UPDATE oauth_grants SET ended_at = $3, end_reason = $4, expires_at = LEAST(expires_at, $5), version = $6
	WHERE server_uid = $2 AND ended_at IS NULL AND id IN (
		SELECT g.id FROM oauth_grants AS g
		LEFT JOIN oauth_consents AS c ON c.server_uid = g.server_uid AND c.user_uid = g.user_uid AND c.client_uid = g.client_uid
			AND c.uid = g.consent_uid AND g.consent_uid <> ''
		WHERE g.server_uid = $2 AND g.consented AND g.ended_at IS NULL AND g.expires_at > $3 AND c.uid IS NULL LIMIT $7)
	RETURNING $1::BIGINT, ` + grantColumns

// withdraw ends what rests on a consent that is not there, and tells of each grant. Nothing depends
// on when this happens: at every use it is asked whether the consent is there.
func (s *Store) withdraw(ctx context.Context) error {
	for {
		version, err := s.newVersion()
		if err != nil {
			return err
		}
		now := s.options.Now().UTC()
		var ended []storage.Grant
		err = s.call(ctx, writes, func(ctx context.Context, c *conn) (err error) {
			ended, err = c.grants(ctx, endUnconsented,
				s.options.ServerUID, now, storage.EndConsentWithdrawn, now.Add(storage.EndedRetention), version, sweepBatch)
			return err
		})
		for _, g := range ended {
			s.NotifyEnd(ctx, g)
		}
		if len(ended) > 0 {
			s.census.left()
		}
		if err != nil || len(ended) < sweepBatch {
			return err
		}
	}
}

// Sweep implements storage.Store. Several replicas may sweep at once: each row is removed, and counted, by one of them.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	if err := s.withdraw(ctx); err != nil {
		return 0, err
	}
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
