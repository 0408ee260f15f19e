package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	readConsent = `SELECT $1::BIGINT, uid, version, scopes, apis, claims, granted_at, updated_at FROM oauth_consents
		WHERE server_uid = $2 AND user_uid = $3 AND client_uid = $4`

	createConsent = `INSERT INTO oauth_consents (server_uid, user_uid, client_uid, version, scopes, apis, claims, granted_at, updated_at, uid)
		VALUES ($2, $3, $4, $5, $6, $7, $8, $9, $10, $5) RETURNING $1::BIGINT, uid`

	// A consent that an earlier version of the program wrote has no UID yet.
	updateConsent = `UPDATE oauth_consents SET version = $5, scopes = $6, apis = $7, claims = $8, granted_at = $9, updated_at = $10,
			uid = CASE WHEN uid = '' THEN $5 ELSE uid END
		WHERE server_uid = $2 AND user_uid = $3 AND client_uid = $4 AND version = $11 RETURNING $1::BIGINT, uid`

	hasConsent = `SELECT $1::BIGINT FROM oauth_consents WHERE server_uid = $2 AND user_uid = $3 AND client_uid = $4`

	// One row, whatever the answer.
	standingConsent = `SELECT $1::BIGINT, EXISTS (SELECT 1 FROM oauth_consents
		WHERE server_uid = $2 AND user_uid = $3 AND client_uid = $4 AND uid = $5)`

	deleteConsent = `DELETE FROM oauth_consents WHERE server_uid = $2 AND user_uid = $3 AND client_uid = $4 RETURNING $1::BIGINT`
)

// GetConsent implements storage.Store.
func (s *Store) GetConsent(ctx context.Context, userUID, clientUID string) (storage.Consent, error) {
	var found storage.Consent
	err := s.call(ctx, reads, func(ctx context.Context, c *conn) error {
		found = storage.Consent{UserUID: userUID, ClientUID: clientUID}
		err := c.row(ctx, readConsent, []any{s.options.ServerUID, userUID, clientUID},
			&found.UID, &found.Version, &found.Scopes, (*apiArray)(&found.APIs), &found.Claims, &found.GrantedAt, &found.UpdatedAt)
		if errors.Is(err, pgx.ErrNoRows) {
			return storage.ErrNotFound
		}
		return err
	})
	if err != nil {
		return storage.Consent{}, err
	}
	return keptConsent(found), nil
}

// keptConsent is c as the database keeps it.
func keptConsent(c storage.Consent) storage.Consent {
	c.GrantedAt, c.UpdatedAt = c.GrantedAt.UTC().Truncate(time.Microsecond), c.UpdatedAt.UTC().Truncate(time.Microsecond)
	c.Scopes, c.APIs, c.Claims = some(c.Scopes), keptAPIs(c.APIs), some(c.Claims)
	return c
}

// HasConsent implements storage.Store.
func (s *Store) HasConsent(ctx context.Context, userUID, clientUID, consentUID string) (there bool, err error) {
	err = s.call(ctx, reads, func(ctx context.Context, c *conn) error {
		return c.row(ctx, standingConsent, []any{s.options.ServerUID, userUID, clientUID, consentUID}, &there)
	})
	return there && consentUID != "" && err == nil, err
}

// PutConsent implements storage.Store.
func (s *Store) PutConsent(ctx context.Context, consent storage.Consent) (storage.Consent, error) {
	read := consent.Version
	consent = keptConsent(consent)
	var err error
	if consent.Version, err = s.newVersion(); err != nil {
		return storage.Consent{}, err
	}
	key := []any{s.options.ServerUID, consent.UserUID, consent.ClientUID}
	row := slices.Concat(key, []any{
		consent.Version, list(consent.Scopes), apiList(consent.APIs), list(consent.Claims), consent.GrantedAt, consent.UpdatedAt,
	})
	err = s.call(ctx, writes, func(ctx context.Context, c *conn) error {
		if read == "" {
			err := c.row(ctx, createConsent, row, &consent.UID)
			if stateOf(err) == stateUniqueViolation {
				return storage.ErrExists
			}
			return err
		}
		err := c.row(ctx, updateConsent, append(slices.Clone(row), read), &consent.UID)
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		return notSwapped(c.row(ctx, hasConsent, key))
	})
	if err != nil {
		return storage.Consent{}, err
	}
	return consent, nil
}

// DeleteConsent implements storage.Store.
func (s *Store) DeleteConsent(ctx context.Context, userUID, clientUID string) error {
	return s.call(ctx, writes, func(ctx context.Context, c *conn) error {
		err := c.row(ctx, deleteConsent, []any{s.options.ServerUID, userUID, clientUID})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
}
