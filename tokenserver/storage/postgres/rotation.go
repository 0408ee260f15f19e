package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// expiryOfRotated is the expiry of a storage.Rotation.
const expiryOfRotated = `GREATEST(LEAST(g.refresh_until, $7) + $8, LEAST(g.expires_at, g.created_at + $9))`

// rotateGrant is a storage.Rotation. It returns the grant before it, from a second reference to the
// table: if another transaction changed the row after this statement had read it, the versions of
// the two differ, and nothing is changed.
var rotateGrant = `UPDATE oauth_grants AS rotated
	SET version = $3, attempt = $4, generation = rotated.generation + 1, advanced_at = $5, seal_kid = $6, last_used = $5,
		expires_at = ` + expiryOfRotated + `, due_at = LEAST(rotated.due_at, ` + expiryOfRotated + `)
	FROM oauth_grants AS g
	WHERE rotated.server_uid = $1 AND rotated.id = $2 AND g.server_uid = $1 AND g.id = $2 AND g.version = rotated.version
		AND rotated.generation = $10 AND rotated.incarnation = $11 AND rotated.client_uid = $12 AND rotated.client_id = $13
		AND rotated.ended_at IS NULL AND rotated.provider_uid = '' AND rotated.last_used > $14
	RETURNING ` + columnNamesOf("g", grantColumns) + `, rotated.expires_at, ` + basisOfG("$5")

// Rotate implements storage.Rotator.
func (s *Store) Rotate(ctx context.Context, r storage.Rotation) (before, after storage.Grant, basis storage.Basis, err error) {
	version, err := s.newVersion()
	if err != nil {
		return storage.Grant{}, storage.Grant{}, storage.Basis{}, err
	}
	err = s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		before, basis = storage.Grant{}, storage.Basis{}
		targets := columnTargets(grantColumns, &before, &after.ExpiresAt, &basis.SessionEnded, &basis.ConsentExists)
		err := c.QueryRow(ctx, rotateGrant, s.options.ServerUID, r.GrantID, version, r.Attempt, r.At.UTC(), r.SealingKID,
			r.Expiry.IdleUntil.UTC(), r.Expiry.Lag, r.Expiry.CodeLag, r.Number, r.Incarnation, r.ClientUID, r.ClientID, r.LastUsedAfter.UTC()).Scan(targets...)
		if errors.Is(err, pgx.ErrNoRows) {
			return storage.ErrConflict
		}
		return err
	})
	if err != nil {
		return storage.Grant{}, storage.Grant{}, storage.Basis{}, err
	}
	before = grantAsStored(before)
	expires := after.ExpiresAt
	after = before
	after.Version, after.Attempt, after.SealingKID, after.ExpiresAt = version, r.Attempt, r.SealingKID, expires
	after.RefreshTokenNumber++
	after.RefreshTokenIssuedAt, after.LastUsedAt = r.At, r.At
	return before, grantAsStored(after), basis, nil
}
