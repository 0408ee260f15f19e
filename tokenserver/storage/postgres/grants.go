package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// grantColumns returns the columns of oauth_grants that hold g, which are all but server_uid. Those
// that an update changes come first. A grant that was scanned must be passed through grantAsStored.
func grantColumns(g *storage.Grant) []column {
	return append(changingGrantColumns(g),
		column{"id", g.ID, &g.ID},
		column{"incarnation", g.Incarnation, &g.Incarnation},
		column{"client_uid", g.ClientUID, &g.ClientUID},
		column{"client_id", g.ClientID, &g.ClientID},
		column{"user_uid", g.UserUID, &g.UserUID},
		column{"subject", g.Subject, &g.Subject},
		column{"user_epoch", g.UserEpoch, &g.UserEpoch},
		column{"session_hash", g.SessionHash, &g.SessionHash},
		column{"auth_time", nullIfZero(g.AuthTime), (*nullableTime)(&g.AuthTime)},
		column{"amr", nonNil(g.AMR), &g.AMR},
		column{"scopes", nonNil(g.Scopes), &g.Scopes},
		column{"resources", nonNil(g.Resources), &g.Resources},
		column{"redirect_uri", g.RedirectURI, &g.RedirectURI},
		column{"nonce", g.Nonce, &g.Nonce},
		column{"claims_request", g.ClaimsRequest, &g.ClaimsRequest},
		column{"consented", g.Consented, &g.Consented},
		column{"offline", g.Offline, &g.Offline},
		column{"created_at", g.CreatedAt, &g.CreatedAt},
		column{"refresh_until", nullIfZero(g.RefreshUntil), (*nullableTime)(&g.RefreshUntil)},
		column{"apis", encodeAPIs(g.APIs), (*apiArray)(&g.APIs)},
		column{"claims", nonNil(g.Claims), &g.Claims},
		column{"consent_uid", g.ConsentUID, &g.ConsentUID},
		column{"provider_uid", g.ProviderUID, &g.ProviderUID},
		column{"signed_in_at", nullIfZero(g.SignedInAt), (*nullableTime)(&g.SignedInAt)},
	)
}

// changingGrantColumns returns the columns that hold what changes in the life of a grant, first
// expires_at.
func changingGrantColumns(g *storage.Grant) []column {
	return append(make([]column, 0, 33), []column{
		{"expires_at", g.ExpiresAt, &g.ExpiresAt},
		{"version", g.Version, &g.Version},
		{"attempt", g.Attempt, &g.Attempt},
		{"generation", g.RefreshTokenNumber, &g.RefreshTokenNumber},
		{"advanced_at", nullIfZero(g.RefreshTokenIssuedAt), (*nullableTime)(&g.RefreshTokenIssuedAt)},
		{"seal_kid", g.SealingKID, &g.SealingKID},
		{"last_used", nullIfZero(g.LastUsedAt), (*nullableTime)(&g.LastUsedAt)},
		{"ended_at", nullIfZero(g.EndedAt), (*nullableTime)(&g.EndedAt)},
		{"end_reason", g.EndReason, &g.EndReason},
	}...)
}

var (
	allGrantColumns  = grantColumns(&storage.Grant{})
	grantColumnNames = columnNames(allGrantColumns)
)

// pairLifetime is how long the row of a user and a client stays after the hour of the last creation.
// The row is a lock, and need not outlive the transactions that wait for it. Since it changes its
// expires_at no more than once an hour, its indexes seldom change.
const pairLifetime = 2 * time.Hour

// lockPair locks the row of a user and a client until the end of the transaction.
const lockPair = `INSERT INTO oauth_pairs (server_uid, user_uid, client_uid, expires_at)
	VALUES ($1, $2, $3, $4)
	ON CONFLICT (server_uid, user_uid, client_uid) DO UPDATE SET expires_at = GREATEST(oauth_pairs.expires_at, excluded.expires_at)`

const grantExists = `SELECT EXISTS (SELECT 1 FROM oauth_grants WHERE server_uid = @server_uid AND id = @id)`

var (
	// endOldestGrants ends the grants of the user $2 and the client $3 beyond the newest $4. The time
	// is $5, and they are kept until $6 for the reason $7, with the version $8. Those that a
	// notbefore.Limits voids do not count: the first that counts has a sign-in at $9 and an
	// authorization at $10.
	endOldestGrants = `UPDATE oauth_grants
		SET ended_at = $5, expires_at = LEAST(expires_at, $6), due_at = LEAST(due_at, $6), end_reason = $7, version = $8
		WHERE server_uid = $1 AND ended_at IS NULL AND id IN (
			SELECT id FROM oauth_grants
			WHERE server_uid = $1 AND user_uid = $2 AND client_uid = $3 AND ended_at IS NULL AND expires_at > $5
				AND COALESCE(signed_in_at, auth_time, created_at) >= $9 AND created_at >= $10
			ORDER BY created_at DESC, id DESC OFFSET $4)
		RETURNING ` + grantColumnNames

	// A grant is due when it expires ($2).
	createGrant = `INSERT INTO oauth_grants (server_uid, due_at, ` + grantColumnNames + `)
		VALUES ($1, $2, ` + columnParameters(allGrantColumns, 2) + `)`

	readGrant = `SELECT ` + grantColumnNames + ` FROM oauth_grants WHERE server_uid = $1 AND id = $2`

	// readGrantWithBasis reads a storage.Basis too. The time is $3.
	readGrantWithBasis = `SELECT ` + grantColumnNames + `, ` + basisOfG("$3") + `
		FROM oauth_grants AS g WHERE g.server_uid = $1 AND g.id = $2`

	// The version that was read is $2, and the columns begin with expires_at at $4. A later expires_at
	// leaves due_at, and with it every index, as it is.
	updateGrant = `UPDATE oauth_grants SET ` + columnAssignments(changingGrantColumns(&storage.Grant{}), 4) + `, due_at = LEAST(due_at, $4)
		WHERE server_uid = $1 AND version = $2 AND id = $3`
)

// basisOfG returns the columns of a storage.Basis for the row g of oauth_grants. The time is a
// parameter, and server_uid is $1.
func basisOfG(now string) string {
	return `NOT g.offline AND g.session_hash <> '' AND EXISTS (SELECT 1 FROM oauth_marks AS m
			WHERE m.server_uid = $1 AND m.kind = '` + string(storage.MarkSession) + `' AND m.id = g.session_hash AND m.expires_at > ` + now + `),
		g.consented AND g.consent_uid <> '' AND EXISTS (SELECT 1 FROM oauth_consents AS c
			WHERE c.server_uid = $1 AND c.user_uid = g.user_uid AND c.client_uid = g.client_uid AND c.uid = g.consent_uid)`
}

// grantAsStored returns g as the database returns it: times to the microsecond, in UTC, and nil for
// empty lists. It shares no list with g.
func grantAsStored(g storage.Grant) storage.Grant {
	for _, at := range []*time.Time{&g.AuthTime, &g.SignedInAt, &g.RefreshTokenIssuedAt, &g.CreatedAt, &g.LastUsedAt, &g.RefreshUntil, &g.ExpiresAt, &g.EndedAt} {
		*at = at.UTC().Truncate(time.Microsecond)
	}
	g.AMR, g.Scopes, g.Resources = cloneOrNil(g.AMR), cloneOrNil(g.Scopes), cloneOrNil(g.Resources)
	g.APIs, g.Claims = cloneAPIs(g.APIs), cloneOrNil(g.Claims)
	return g
}

// scanGrant scans a row with grantColumnNames. It is a pgx.RowToFunc.
func scanGrant(row pgx.CollectableRow) (storage.Grant, error) {
	var g storage.Grant
	err := row.Scan(columnTargets(grantColumns(&g))...)
	return grantAsStored(g), err
}

// CreateGrant implements storage.Store.
func (s *Store) CreateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	g = grantAsStored(g)
	var err error
	if g.Version, err = s.newVersion(); err != nil {
		return storage.Grant{}, err
	}
	if err := s.reserveRecord(ctx, s.liveGrants); err != nil {
		if errors.Is(err, storage.ErrFull) {
			return storage.Grant{}, s.existsOrFull(ctx, g.ID)
		}
		return storage.Grant{}, err
	}
	var ended []storage.Grant
	if err := s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		ended, err = s.createGrant(ctx, c, g)
		return err
	}); err != nil {
		return storage.Grant{}, err
	}
	for _, g := range ended {
		s.NotifyEnd(ctx, g)
	}
	return g, nil
}

// createGrant creates g, and returns the grants of the same user and client that it ended at their
// bound. The three statements are one transaction and one round trip: the first waits until
// concurrent creations for the user and the client have committed, so that the second sees them.
func (s *Store) createGrant(ctx context.Context, c *pgxpool.Conn, g storage.Grant) (ended []storage.Grant, err error) {
	now := s.options.Now().UTC()
	limits := s.NotBefore().At(now, g.ClientUID, g.UserUID, g.ProviderUID)
	batch := &pgx.Batch{}
	batch.Queue(lockPair, s.options.ServerUID, g.UserUID, g.ClientUID, now.Truncate(time.Hour).Add(pairLifetime))
	batch.Queue(endOldestGrants, s.options.ServerUID, g.UserUID, g.ClientUID, s.maxPerUserAndClient.Load()-1,
		now, now.Add(storage.EndedRetention), storage.EndBound, g.Version,
		secondAfter(limits.Login), secondAfter(max(limits.Login, limits.Client))).Query(func(rows pgx.Rows) (err error) {
		ended, err = pgx.CollectRows(rows, scanGrant)
		return err
	})
	batch.Queue(createGrant, columnValues(grantColumns(&g), s.options.ServerUID)...)
	err = c.SendBatch(ctx, batch).Close() // nil once the transaction is committed
	if sqlState(err) == stateUniqueViolation {
		return nil, storage.ErrExists
	}
	return ended, err
}

// existsOrFull returns why a grant is not created at the bound of the server: ErrExists, so that
// the second use of a code is detected there too, or ErrFull.
func (s *Store) existsOrFull(ctx context.Context, id string) error {
	exists, err := s.readBool(ctx, grantExists, pgx.StrictNamedArgs{"server_uid": s.options.ServerUID, "id": id})
	switch {
	case err != nil:
		return err
	case exists:
		return storage.ErrExists
	default:
		return storage.ErrFull
	}
}

// conflictOrNotFound returns why an update has changed no row: ErrConflict if the record exists, as
// the query tells, and else ErrNotFound.
func (s *Store) conflictOrNotFound(ctx context.Context, exists string, args pgx.StrictNamedArgs) error {
	found, err := s.readBool(ctx, exists, args)
	switch {
	case err != nil:
		return err
	case found:
		return storage.ErrConflict
	default:
		return storage.ErrNotFound
	}
}

// readBool returns the boolean that is the answer to a query.
func (s *Store) readBool(ctx context.Context, query string, args pgx.StrictNamedArgs) (answer bool, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, query, args).Scan(&answer)
	})
	return answer && err == nil, err
}

// GetGrant implements storage.Store.
func (s *Store) GetGrant(ctx context.Context, id string) (storage.Grant, error) {
	return s.readGrant(ctx, nil, readGrant, s.options.ServerUID, id)
}

// GetGrantWithBasis implements storage.BasisReader.
func (s *Store) GetGrantWithBasis(ctx context.Context, id string) (storage.Grant, *storage.Basis, error) {
	basis := &storage.Basis{}
	g, err := s.readGrant(ctx, []any{&basis.SessionEnded, &basis.ConsentExists}, readGrantWithBasis, s.options.ServerUID, id, s.options.Now().UTC())
	return g, basis, err
}

// readGrant returns the grant in the row that a query returns. What follows its columns is scanned
// into further.
func (s *Store) readGrant(ctx context.Context, further []any, query string, args ...any) (storage.Grant, error) {
	var found storage.Grant
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		found = storage.Grant{}
		err := c.QueryRow(ctx, query, args...).Scan(append(columnTargets(grantColumns(&found)), further...)...)
		if errors.Is(err, pgx.ErrNoRows) {
			return storage.ErrNotFound
		}
		return err
	})
	if err != nil {
		return storage.Grant{}, err
	}
	return grantAsStored(found), nil
}

// UpdateGrant implements storage.Store.
func (s *Store) UpdateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	expected := g.Version
	g = grantAsStored(g)
	var err error
	if g.Version, err = s.newVersion(); err != nil {
		return storage.Grant{}, err
	}
	args := columnValues(changingGrantColumns(&g), s.options.ServerUID, expected, g.ID)
	err = s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, updateGrant, args...)
		if err == nil && tag.RowsAffected() == 0 {
			return storage.ErrConflict
		}
		return err
	})
	if errors.Is(err, storage.ErrConflict) {
		err = s.conflictOrNotFound(ctx, grantExists, pgx.StrictNamedArgs{"server_uid": s.options.ServerUID, "id": g.ID})
	}
	if err != nil {
		return storage.Grant{}, err
	}
	if g.IsEnded() {
		s.liveGrants.invalidateIfFull()
	}
	return g, nil
}

// queryGrants returns the grants in the rows that a statement returns.
func queryGrants(ctx context.Context, c *pgxpool.Conn, statement string, args pgx.StrictNamedArgs) ([]storage.Grant, error) {
	rows, err := c.Query(ctx, statement, args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanGrant)
}
