package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// consentColumns are the columns of oauth_consents that hold a consent, which are all but server_uid.
// A consent that was scanned must be passed through consentAsStored.
var consentColumns = []column[storage.Consent]{
	textColumn("user_uid", func(c *storage.Consent) *string { return &c.UserUID }),
	textColumn("client_uid", func(c *storage.Consent) *string { return &c.ClientUID }),
	textColumn("uid", func(c *storage.Consent) *string { return &c.UID }),
	textColumn("version", func(c *storage.Consent) *string { return &c.Version }),
	listColumn("scopes", func(c *storage.Consent) *[]string { return &c.Scopes }),
	apisColumn("apis", func(c *storage.Consent) *[]storage.API { return &c.APIs }),
	listColumn("claims", func(c *storage.Consent) *[]string { return &c.Claims }),
	timeColumn("granted_at", func(c *storage.Consent) *time.Time { return &c.GrantedAt }),
	timeColumn("updated_at", func(c *storage.Consent) *time.Time { return &c.UpdatedAt }),
}

const (
	ofConsent = ` WHERE server_uid = @server_uid AND user_uid = @user_uid AND client_uid = @client_uid`

	consentExists        = `SELECT EXISTS (SELECT 1 FROM oauth_consents` + ofConsent + `)`
	consentWithUIDExists = `SELECT EXISTS (SELECT 1 FROM oauth_consents` + ofConsent + ` AND uid = @uid)`
)

var (
	readConsent = `SELECT ` + columnNames(consentColumns) + ` FROM oauth_consents` + ofConsent

	createConsent = `INSERT INTO oauth_consents (server_uid, ` + columnNames(consentColumns) + `)
		VALUES ($1, ` + columnParameters(consentColumns, 2) + `) RETURNING uid`

	// The version that was read is $2, the columns begin at $3. A consent that an earlier version
	// of the program wrote has no UID yet.
	updateConsent = `UPDATE oauth_consents SET uid = CASE WHEN uid = '' THEN $5 ELSE uid END, ` + columnAssignments(consentColumns[3:], 6) + `
		WHERE server_uid = $1 AND version = $2 AND user_uid = $3 AND client_uid = $4 RETURNING uid`
)

// consentKey returns the parameters that name a consent.
func (s *Store) consentKey(userUID, clientUID string) pgx.StrictNamedArgs {
	return pgx.StrictNamedArgs{"server_uid": s.options.ServerUID, "user_uid": userUID, "client_uid": clientUID}
}

// GetConsent implements storage.Store.
func (s *Store) GetConsent(ctx context.Context, userUID, clientUID string) (storage.Consent, error) {
	var found storage.Consent
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		found = storage.Consent{}
		err := c.QueryRow(ctx, readConsent, s.consentKey(userUID, clientUID)).Scan(columnTargets(consentColumns, &found)...)
		if errors.Is(err, pgx.ErrNoRows) {
			return storage.ErrNotFound
		}
		return err
	})
	if err != nil {
		return storage.Consent{}, err
	}
	return consentAsStored(found), nil
}

// consentAsStored returns c as the database returns it, like grantAsStored.
func consentAsStored(c storage.Consent) storage.Consent {
	c.GrantedAt, c.UpdatedAt = c.GrantedAt.UTC().Truncate(time.Microsecond), c.UpdatedAt.UTC().Truncate(time.Microsecond)
	c.Scopes, c.APIs, c.Claims = cloneOrNil(c.Scopes), cloneAPIs(c.APIs), cloneOrNil(c.Claims)
	return c
}

// HasConsent implements storage.Store.
func (s *Store) HasConsent(ctx context.Context, userUID, clientUID, consentUID string) (bool, error) {
	args := s.consentKey(userUID, clientUID)
	args["uid"] = consentUID
	exists, err := s.readBool(ctx, consentWithUIDExists, args)
	return exists && consentUID != "", err
}

// PutConsent implements storage.Store.
func (s *Store) PutConsent(ctx context.Context, consent storage.Consent) (storage.Consent, error) {
	expected := consent.Version
	consent = consentAsStored(consent)
	var err error
	if consent.Version, err = s.newVersion(); err != nil {
		return storage.Consent{}, err
	}
	consent.UID = consent.Version // which is random; an update keeps the UID that the consent has
	statement, args := createConsent, columnValues(consentColumns, &consent, s.options.ServerUID)
	if expected != "" {
		statement, args = updateConsent, columnValues(consentColumns, &consent, s.options.ServerUID, expected)
	}
	err = s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		err := c.QueryRow(ctx, statement, args...).Scan(&consent.UID)
		switch {
		case sqlState(err) == stateUniqueViolation:
			return storage.ErrExists
		case errors.Is(err, pgx.ErrNoRows):
			return storage.ErrConflict
		default:
			return err
		}
	})
	if errors.Is(err, storage.ErrConflict) {
		err = s.conflictOrNotFound(ctx, consentExists, s.consentKey(consent.UserUID, consent.ClientUID))
	}
	if err != nil {
		return storage.Consent{}, err
	}
	return consent, nil
}
