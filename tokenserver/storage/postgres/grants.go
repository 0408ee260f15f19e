package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// changingGrantColumns are the columns of oauth_grants that hold what changes in the life of a grant,
// first expires_at.
var changingGrantColumns = []column[storage.Grant]{
	timeColumn("expires_at", func(g *storage.Grant) *time.Time { return &g.ExpiresAt }),
	textColumn("version", func(g *storage.Grant) *string { return &g.Version }),
	textColumn("attempt", func(g *storage.Grant) *string { return &g.Attempt }),
	numberColumn("generation", func(g *storage.Grant) *int64 { return &g.RefreshTokenNumber }),
	nullableTimeColumn("advanced_at", func(g *storage.Grant) *time.Time { return &g.RefreshTokenIssuedAt }),
	textColumn("seal_kid", func(g *storage.Grant) *string { return &g.SealingKID }),
	nullableTimeColumn("last_used", func(g *storage.Grant) *time.Time { return &g.LastUsedAt }),
	nullableTimeColumn("ended_at", func(g *storage.Grant) *time.Time { return &g.EndedAt }),
	textColumn("end_reason", func(g *storage.Grant) *string { return &g.EndReason }),
}

// grantColumns are the columns of oauth_grants that hold a grant, which are all but server_uid and
// due_at. A grant that was scanned must be passed through grantAsStored.
var grantColumns = slices.Concat(changingGrantColumns, []column[storage.Grant]{
	textColumn("id", func(g *storage.Grant) *string { return &g.ID }),
	textColumn("incarnation", func(g *storage.Grant) *string { return &g.Incarnation }),
	textColumn("client_uid", func(g *storage.Grant) *string { return &g.ClientUID }),
	textColumn("client_id", func(g *storage.Grant) *string { return &g.ClientID }),
	textColumn("user_uid", func(g *storage.Grant) *string { return &g.UserUID }),
	textColumn("subject", func(g *storage.Grant) *string { return &g.Subject }),
	textColumn("user_epoch", func(g *storage.Grant) *string { return &g.UserEpoch }),
	textColumn("session_hash", func(g *storage.Grant) *string { return &g.SessionHash }),
	nullableTimeColumn("auth_time", func(g *storage.Grant) *time.Time { return &g.AuthTime }),
	listColumn("amr", func(g *storage.Grant) *[]string { return &g.AMR }),
	listColumn("scopes", func(g *storage.Grant) *[]string { return &g.Scopes }),
	listColumn("resources", func(g *storage.Grant) *[]string { return &g.Resources }),
	textColumn("redirect_uri", func(g *storage.Grant) *string { return &g.RedirectURI }),
	textColumn("nonce", func(g *storage.Grant) *string { return &g.Nonce }),
	textColumn("claims_request", func(g *storage.Grant) *string { return &g.ClaimsRequest }),
	boolColumn("consented", func(g *storage.Grant) *bool { return &g.Consented }),
	boolColumn("offline", func(g *storage.Grant) *bool { return &g.Offline }),
	timeColumn("created_at", func(g *storage.Grant) *time.Time { return &g.CreatedAt }),
	nullableTimeColumn("refresh_until", func(g *storage.Grant) *time.Time { return &g.RefreshUntil }),
	apisColumn("apis", func(g *storage.Grant) *[]storage.API { return &g.APIs }),
	listColumn("claims", func(g *storage.Grant) *[]string { return &g.Claims }),
	textColumn("consent_uid", func(g *storage.Grant) *string { return &g.ConsentUID }),
	textColumn("provider_uid", func(g *storage.Grant) *string { return &g.ProviderUID }),
	nullableTimeColumn("signed_in_at", func(g *storage.Grant) *time.Time { return &g.SignedInAt }),
})

var grantColumnNames = columnNames(grantColumns)

// pairLifetime is how long the row of a user and a client stays after the hour of the last creation.
// The row is a lock, and need not outlive the transactions that wait for it. Since it changes its
// expires_at no more than once an hour, its indexes seldom change.
const pairLifetime = 2 * time.Hour

// lockPair locks the row of a user and a client until the end of the transaction.
const lockPair = `INSERT INTO oauth_pairs (server_uid, user_uid, client_uid, expires_at)
	VALUES ($1, $2, $3, $4)
	ON CONFLICT (server_uid, user_uid, client_uid) DO UPDATE SET expires_at = GREATEST(oauth_pairs.expires_at, excluded.expires_at)`

const (
	grantExists = `SELECT EXISTS (SELECT 1 FROM oauth_grants WHERE server_uid = @server_uid AND id = @id)`

	// endOldestGrants ends the grants of the user $2 and the client $3 beyond the newest $4, but not
	// the grant $5, which has just been created with the version $6: without it, nothing ends. The
	// time is $7, and what ends is kept until $8 for the reason $9. Grants that a notbefore.Limits voids
	// do not count: the first that counts has a sign-in at $10 and an authorization at $11.
	endOldestGrants = `UPDATE oauth_grants
		SET ended_at = $7, expires_at = LEAST(expires_at, $8), due_at = LEAST(due_at, $8), end_reason = $9, version = $6
		WHERE server_uid = $1 AND ended_at IS NULL AND id IN (
			SELECT id FROM oauth_grants
			WHERE server_uid = $1 AND user_uid = $2 AND client_uid = $3 AND id <> $5 AND ended_at IS NULL AND expires_at > $7
				AND COALESCE(signed_in_at, auth_time, created_at) >= $10 AND created_at >= $11
			ORDER BY created_at DESC, id DESC OFFSET $4)
		AND EXISTS (SELECT 1 FROM oauth_grants WHERE server_uid = $1 AND id = $5 AND version = $6)
		RETURNING id`
)

var (
	// createGrant creates a grant unless its session has ended at $2. It is due when it expires ($3).
	createGrant = `INSERT INTO oauth_grants (server_uid, due_at, ` + grantColumnNames + `)
		SELECT $1::TEXT, $3::TIMESTAMPTZ, ` + typedColumnParameters(grantColumns, 3) + ` WHERE NOT (` + sessionHasEnded(columnParameter(grantColumns, 3, "session_hash"), "$2") + `)`

	readGrant = `SELECT ` + grantColumnNames + ` FROM oauth_grants WHERE server_uid = $1 AND id = $2`

	// readGrantWithBasis reads a storage.Basis too. The time is $3.
	readGrantWithBasis = `SELECT ` + grantColumnNames + `, ` + basisOfG("$3") + `
		FROM oauth_grants AS g WHERE g.server_uid = $1 AND g.id = $2`

	// The version that was read is $2, and the columns begin with expires_at at $4. A later expires_at
	// leaves due_at, and with it every index, as it is.
	updateGrant = `UPDATE oauth_grants SET ` + columnAssignments(changingGrantColumns, 4) + `, due_at = LEAST(due_at, $4)
		WHERE server_uid = $1 AND version = $2 AND id = $3`
)

// basisOfG returns the columns of a storage.Basis for the row g of oauth_grants. The time is a
// parameter, and server_uid is $1.
func basisOfG(now string) string {
	return `NOT g.offline AND ` + sessionHasEnded("g.session_hash", now) + `,
		g.consented AND g.consent_uid <> '' AND EXISTS (SELECT 1 FROM oauth_consents AS c
			WHERE c.server_uid = $1 AND c.user_uid = g.user_uid AND c.client_uid = g.client_uid AND c.uid = g.consent_uid)`
}

// sessionHasEnded returns a condition about a session hash, which is empty for no session. The server_uid
// is $1.
func sessionHasEnded(hash, now string) string {
	return hash + ` <> '' AND EXISTS (SELECT 1 FROM oauth_marks AS m
			WHERE m.server_uid = $1 AND m.kind = '` + string(storage.MarkSession) + `' AND m.id = ` + hash + ` AND m.expires_at > ` + now + `)`
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
	err := row.Scan(columnTargets(grantColumns, &g)...)
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
			return storage.Grant{}, s.refusalAtBound(ctx, g)
		}
		return storage.Grant{}, err
	}
	var ended []string
	if err := s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		ended, err = s.createGrant(ctx, c, g)
		return err
	}); err != nil {
		return storage.Grant{}, err
	}
	for _, id := range ended {
		s.NotifyEnd(ctx, storage.Grant{ID: id, ClientUID: g.ClientUID, ClientID: g.ClientID, UserUID: g.UserUID, EndReason: storage.EndBound})
	}
	return g, nil
}

// createGrant creates g, and returns the ids of the grants of the same user and client that it ended
// at their bound. The three statements are one transaction and one round trip: the first waits until
// concurrent creations for the user and the client have committed, so that the last sees them.
func (s *Store) createGrant(ctx context.Context, c *pgxpool.Conn, g storage.Grant) (ended []string, err error) {
	now, isCreated := s.options.Now().UTC(), false
	limits := s.NotBefore().At(now, g.ClientUID, g.UserUID, g.ProviderUID)
	batch := &pgx.Batch{}
	batch.Queue(lockPair, s.options.ServerUID, g.UserUID, g.ClientUID, now.Truncate(time.Hour).Add(pairLifetime))
	batch.Queue(createGrant, columnValues(grantColumns, &g, s.options.ServerUID, now)...).Exec(func(tag pgconn.CommandTag) error {
		isCreated = tag.RowsAffected() > 0
		return nil
	})
	batch.Queue(endOldestGrants, s.options.ServerUID, g.UserUID, g.ClientUID, s.maxPerUserAndClient.Load()-1, g.ID, g.Version,
		now, now.Add(storage.EndedRetention), storage.EndBound,
		secondAfter(limits.Login), secondAfter(max(limits.Login, limits.Client))).Query(func(rows pgx.Rows) (err error) {
		ended, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	err = c.SendBatch(ctx, batch).Close() // nil once the transaction is committed
	switch {
	case sqlState(err) == stateUniqueViolation:
		return nil, storage.ErrExists
	case err == nil && !isCreated:
		return nil, storage.ErrSessionEnded
	}
	return ended, err
}

// refusalAtBound returns why a grant is not created at the bound of the server: ErrSessionEnded,
// ErrExists, so that the second use of a code is detected there too, or ErrFull.
func (s *Store) refusalAtBound(ctx context.Context, g storage.Grant) error {
	if err := storage.CheckSession(ctx, s, g); err != nil {
		return err
	}
	exists, err := s.readBool(ctx, grantExists, pgx.StrictNamedArgs{"server_uid": s.options.ServerUID, "id": g.ID})
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
		err := c.QueryRow(ctx, query, args...).Scan(columnTargets(grantColumns, &found, further...)...)
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
	args := columnValues(changingGrantColumns, &g, s.options.ServerUID, expected, g.ID)
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
