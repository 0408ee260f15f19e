package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// grantColumns in the order of grantValues and grantTargets, behind server_uid.
const grantColumns = `id, version, incarnation, attempt, client_uid, client_id, user_uid, subject, user_epoch, session_hash, auth_time, amr,
	scopes, resources, redirect_uri, nonce, claims_request, consented, offline, generation, advanced_at, seal_kid, created_at, last_used,
	refresh_until, expires_at, ended_at, end_reason, apis, claims, consent_uid`

// Of every question $1 is its number.
const (
	takeTurn = `INSERT INTO oauth_pairs (server_uid, user_uid, client_uid, expires_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (server_uid, user_uid, client_uid) DO UPDATE SET expires_at = GREATEST(oauth_pairs.expires_at, excluded.expires_at)`

	endOldest = `UPDATE oauth_grants SET ended_at = $4, end_reason = $5, expires_at = LEAST(expires_at, $6), version = $7
		WHERE server_uid = $1 AND ended_at IS NULL AND id IN (
			SELECT id FROM oauth_grants
			WHERE server_uid = $1 AND user_uid = $2 AND client_uid = $3 AND ended_at IS NULL AND expires_at > $4
			ORDER BY created_at DESC, id DESC OFFSET $8)
		RETURNING ` + grantColumns

	createGrant = `INSERT INTO oauth_grants (server_uid, ` + grantColumns + `)
		VALUES ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30,
			$31, $32, $33)
		RETURNING $1::BIGINT`

	readGrant = `SELECT $1::BIGINT, ` + grantColumns + ` FROM oauth_grants WHERE server_uid = $2 AND id = $3`

	// The version that was read is the last parameter.
	updateGrant = `UPDATE oauth_grants SET version = $4, incarnation = $5, attempt = $6, client_uid = $7, client_id = $8,
			user_uid = $9, subject = $10, user_epoch = $11, session_hash = $12, auth_time = $13, amr = $14, scopes = $15, resources = $16, redirect_uri = $17, nonce = $18,
			claims_request = $19, consented = $20, offline = $21, generation = $22, advanced_at = $23, seal_kid = $24, created_at = $25,
			last_used = $26, refresh_until = $27, expires_at = $28, ended_at = $29, end_reason = $30, apis = $31, claims = $32, consent_uid = $33
		WHERE server_uid = $2 AND id = $3 AND version = $34
		RETURNING $1::BIGINT`

	hasGrant = `SELECT $1::BIGINT FROM oauth_grants WHERE server_uid = $2 AND id = $3`

	grantsOfUser = `SELECT $1::BIGINT, ` + grantColumns + ` FROM oauth_grants
		WHERE server_uid = $2 AND user_uid = $3 AND expires_at > $4 ORDER BY created_at, id`

	grantsOfPair = `SELECT $1::BIGINT, ` + grantColumns + ` FROM oauth_grants
		WHERE server_uid = $2 AND user_uid = $3 AND client_uid = $5 AND expires_at > $4 ORDER BY created_at, id`
)

// grantValues are g's columns.
func grantValues(g *storage.Grant) []any {
	return []any{
		g.ID, g.Version, g.Incarnation, g.Attempt, g.ClientUID, g.ClientID, g.UserUID, g.Subject, g.UserEpoch, g.SessionHash,
		orNull(g.AuthTime), list(g.AMR), list(g.Scopes), list(g.Resources), g.RedirectURI, g.Nonce, g.ClaimsRequest,
		g.Consented, g.Offline, g.Generation, orNull(g.AdvancedAt), g.SealKID, g.CreatedAt, orNull(g.LastUsed), orNull(g.RefreshUntil),
		g.ExpiresAt, orNull(g.EndedAt), g.EndReason, apiList(g.APIs), list(g.Claims), g.ConsentUID,
	}
}

// grantTargets are where g's columns are scanned to; finish must follow.
func grantTargets(g *storage.Grant) []any {
	return []any{
		&g.ID, &g.Version, &g.Incarnation, &g.Attempt, &g.ClientUID, &g.ClientID, &g.UserUID, &g.Subject, &g.UserEpoch, &g.SessionHash,
		(*nullable)(&g.AuthTime), &g.AMR, &g.Scopes, &g.Resources, &g.RedirectURI, &g.Nonce, &g.ClaimsRequest,
		&g.Consented, &g.Offline, &g.Generation, (*nullable)(&g.AdvancedAt), &g.SealKID, &g.CreatedAt, (*nullable)(&g.LastUsed), (*nullable)(&g.RefreshUntil),
		&g.ExpiresAt, (*nullable)(&g.EndedAt), &g.EndReason, (*apiArray)(&g.APIs), &g.Claims, &g.ConsentUID,
	}
}

// kept is g as the database keeps it: times to the microsecond, in UTC, and no list where one is empty.
func kept(g storage.Grant) storage.Grant {
	for _, at := range []*time.Time{&g.AuthTime, &g.AdvancedAt, &g.CreatedAt, &g.LastUsed, &g.RefreshUntil, &g.ExpiresAt, &g.EndedAt} {
		*at = at.UTC().Truncate(time.Microsecond)
	}
	g.AMR, g.Scopes, g.Resources = some(g.AMR), some(g.Scopes), some(g.Resources)
	g.APIs, g.Claims = keptAPIs(g.APIs), some(g.Claims)
	return g
}

// CreateGrant implements storage.Store. Creators of one pair's grants take turns: the first statement waits for its row until the others have
// committed, the second sees what they made. All three are one transaction and one round trip.
func (s *Store) CreateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	g = kept(g)
	var err error
	if g.Version, err = s.newVersion(); err != nil {
		return storage.Grant{}, err
	}
	if err := s.admit(ctx, &s.census); err != nil {
		if errors.Is(err, storage.ErrFull) {
			return storage.Grant{}, s.takenOrFull(ctx, g.ID)
		}
		return storage.Grant{}, err
	}
	var ended []storage.Grant
	if err := s.call(ctx, writes, func(ctx context.Context, c *conn) (err error) {
		ended, err = s.create(ctx, c, g)
		return err
	}); err != nil {
		return storage.Grant{}, err
	}
	for _, g := range ended {
		s.NotifyEnd(ctx, g)
	}
	return g, nil
}

// create gives the grants that had to end for g.
func (s *Store) create(ctx context.Context, c *conn, g storage.Grant) (ended []storage.Grant, err error) {
	now := s.options.Now().UTC()
	server, number := s.options.ServerUID, c.number()
	batch := &pgx.Batch{}
	batch.Queue(takeTurn, server, g.UserUID, g.ClientUID, g.ExpiresAt)
	batch.Queue(endOldest, server, g.UserUID, g.ClientUID, now, storage.EndBound, now.Add(storage.EndedRetention), g.Version, s.maxPair.Load()-1)
	batch.Queue(createGrant, append([]any{number, server}, grantValues(&g)...)...)
	answers := c.SendBatch(ctx, batch)
	err = func() error {
		if _, err := answers.Exec(); err != nil {
			return err
		}
		rows, err := answers.Query()
		if err != nil {
			return err
		}
		ended, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (g storage.Grant, err error) {
			err = row.Scan(grantTargets(&g)...)
			return kept(g), err
		})
		if err != nil {
			return err
		}
		var got int64
		if err := answers.QueryRow().Scan(&got); err != nil {
			return err
		}
		if got != number {
			return errOutOfStep
		}
		return nil
	}()
	// Only the end of the conversation says that the transaction was committed.
	if closing := answers.Close(); err == nil {
		err = closing
	}
	if stateOf(err) == stateUniqueViolation {
		return nil, storage.ErrExists
	}
	return ended, err
}

// takenOrFull is why a grant is not created at the bound of the server: a code that was redeemed already is found out all the same.
func (s *Store) takenOrFull(ctx context.Context, id string) error {
	return s.call(ctx, reads, func(ctx context.Context, c *conn) error {
		err := c.row(ctx, hasGrant, []any{s.options.ServerUID, id})
		switch {
		case err == nil:
			return storage.ErrExists
		case errors.Is(err, pgx.ErrNoRows):
			return storage.ErrFull
		default:
			return err
		}
	})
}

// GetGrant implements storage.Store.
func (s *Store) GetGrant(ctx context.Context, id string) (storage.Grant, error) {
	var found storage.Grant
	err := s.call(ctx, reads, func(ctx context.Context, c *conn) error {
		found = storage.Grant{}
		err := c.row(ctx, readGrant, []any{s.options.ServerUID, id}, grantTargets(&found)...)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && found.ID != id {
			return storage.ErrNotFound
		}
		return err
	})
	if err != nil {
		return storage.Grant{}, err
	}
	return kept(found), nil
}

// notSwapped is why a compare-and-swap has changed nothing, from the answer to whether there is such a record at all.
func notSwapped(there error) error {
	switch {
	case there == nil:
		return storage.ErrConflict
	case errors.Is(there, pgx.ErrNoRows):
		return storage.ErrNotFound
	default:
		return notDone{there}
	}
}

// UpdateGrant implements storage.Store.
func (s *Store) UpdateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	read := g.Version
	g = kept(g)
	var err error
	if g.Version, err = s.newVersion(); err != nil {
		return storage.Grant{}, err
	}
	err = s.call(ctx, writes, func(ctx context.Context, c *conn) error {
		err := c.row(ctx, updateGrant, append(append([]any{s.options.ServerUID}, grantValues(&g)...), read))
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		return notSwapped(c.row(ctx, hasGrant, []any{s.options.ServerUID, g.ID}))
	})
	if err != nil {
		return storage.Grant{}, err
	}
	if g.IsEnded() {
		s.census.left()
	}
	return g, nil
}

// ListGrants implements storage.Store.
func (s *Store) ListGrants(ctx context.Context, userUID, clientUID string) ([]storage.Grant, error) {
	sql, args := grantsOfUser, []any{s.options.ServerUID, userUID, s.options.Now().UTC()}
	if clientUID != "" {
		sql, args = grantsOfPair, append(args, clientUID)
	}
	var found []storage.Grant
	err := s.call(ctx, reads, func(ctx context.Context, c *conn) (err error) {
		found, err = c.grants(ctx, sql, args...)
		return err
	})
	return found, err
}

// grants asks a question whose answer is any number of grants.
func (c *conn) grants(ctx context.Context, sql string, args ...any) (found []storage.Grant, err error) {
	number := c.number()
	rows, err := c.Query(ctx, sql, append([]any{number}, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var g storage.Grant
		var got int64
		if err := rows.Scan(append([]any{&got}, grantTargets(&g)...)...); err != nil {
			return nil, err
		}
		if got != number {
			return nil, errOutOfStep
		}
		found = append(found, kept(g))
	}
	rows.Close()
	if err := rows.Err(); err != nil || len(found) > 0 {
		return found, err
	}
	return nil, c.inStep(ctx)
}
