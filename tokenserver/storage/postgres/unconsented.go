package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// examinedBatches is how many batches of grants a sweep examines. However many grants there are, that
// takes it a fraction of a second.
const examinedBatches = 20

// readUnconsented reads which of a batch of grants, which begins after @after, rest on a consent that
// was deleted or replaced by a later one. The consent is read in a subquery of each grant: PostgreSQL
// may execute a join by reading all consents.
const readUnconsented = `SELECT g.id FROM (
		SELECT id, user_uid, client_uid, consented, consent_uid, expires_at, ended_at FROM oauth_grants
		WHERE server_uid = @server_uid AND id > @after ORDER BY id LIMIT @limit) AS g
	WHERE g.consented AND g.ended_at IS NULL AND g.expires_at > @now AND (SELECT c.uid FROM oauth_consents AS c
		WHERE c.server_uid = @server_uid AND c.user_uid = g.user_uid AND c.client_uid = g.client_uid
			AND c.uid = g.consent_uid AND g.consent_uid <> '') IS NULL`

// endUnconsented ends grants that rest on no consent. What a grant rests on never changes, and a
// consent that is gone does not come back.
var endUnconsented = `UPDATE oauth_grants
	SET ended_at = @now, end_reason = @end_reason, version = @version,
		expires_at = LEAST(expires_at, @kept_until), due_at = LEAST(due_at, @kept_until)
	WHERE server_uid = @server_uid AND id = ANY(@ids::TEXT[]) AND ended_at IS NULL
	RETURNING ` + grantColumnNames

// lastOfBatch reads the last grant of a full batch.
const lastOfBatch = `SELECT id FROM oauth_grants WHERE server_uid = @server_uid AND id > @after ORDER BY id LIMIT 1 OFFSET @others`

// examineGrants ends grants that rest on a consent that no longer exists, and has the sweep look in
// time at those that an earlier version of the program ended. It walks through all grants in the order
// of their ids, some at each sweep. It may come late: every use of a grant checks whether its consent
// exists.
func (s *Store) examineGrants(ctx context.Context) error {
	for range examinedBatches {
		after := s.sweeping.grants
		if _, err := s.execCounting(ctx, correctDue, pgx.StrictNamedArgs{"server_uid": s.options.ServerUID, "after": after, "limit": sweepBatch}); err != nil {
			return err
		}
		if err := s.endUnconsentedOfBatch(ctx, after); err != nil {
			return err
		}
		last, err := s.lastOfBatch(ctx, after)
		if err != nil {
			return err
		}
		if s.sweeping.grants = last; last == "" {
			return nil
		}
	}
	return nil
}

// endUnconsentedOfBatch ends those of the batch after a grant.
func (s *Store) endUnconsentedOfBatch(ctx context.Context, after string) error {
	now := s.options.Now().UTC()
	var ids []string
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, readUnconsented, pgx.StrictNamedArgs{"server_uid": s.options.ServerUID, "now": now, "after": after, "limit": sweepBatch})
		if err != nil {
			return err
		}
		ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	version, err := s.newVersion()
	if err != nil {
		return err
	}
	var ended []storage.Grant
	err = s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		ended, err = queryGrants(ctx, c, endUnconsented, pgx.StrictNamedArgs{
			"server_uid": s.options.ServerUID, "ids": ids, "now": now, "end_reason": storage.EndConsentWithdrawn,
			"kept_until": now.Add(storage.EndedRetention), "version": version,
		})
		return err
	})
	for _, g := range ended {
		s.NotifyEnd(ctx, g)
	}
	if len(ended) > 0 {
		s.liveGrants.invalidateIfFull()
	}
	return err
}

// lastOfBatch returns the last grant of the batch after a grant, or "" if none follows it.
func (s *Store) lastOfBatch(ctx context.Context, after string) (last string, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		err := c.QueryRow(ctx, lastOfBatch, pgx.StrictNamedArgs{
			"server_uid": s.options.ServerUID, "after": after, "others": sweepBatch - 1,
		}).Scan(&last)
		if errors.Is(err, pgx.ErrNoRows) {
			last, err = "", nil
		}
		return err
	})
	return last, err
}
