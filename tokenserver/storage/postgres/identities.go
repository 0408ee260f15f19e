package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// identityRow is a row of oauth_identities.
type identityRow struct {
	storage.Identity
	claims string // what Identity.MarshalClaims returns
}

// identityColumns are the columns of oauth_identities that hold a row, which are all but server_uid.
var identityColumns = []column[identityRow]{
	textColumn("subject", func(r *identityRow) *string { return &r.Subject }),
	textColumn("incarnation", func(r *identityRow) *string { return &r.Incarnation }),
	textColumn("version", func(r *identityRow) *string { return &r.Version }),
	textColumn("provider_uid", func(r *identityRow) *string { return &r.ProviderUID }),
	textColumn("provider_name", func(r *identityRow) *string { return &r.ProviderName }),
	textColumn("claims", func(r *identityRow) *string { return &r.claims }),
	nullableTimeColumn("claims_at", func(r *identityRow) *time.Time { return &r.ClaimsAt }),
	timeColumn("last_sign_in", func(r *identityRow) *time.Time { return &r.LastSignIn }),
	textColumn("allow_hash", func(r *identityRow) *string { return &r.AllowHash }),
	textColumn("password_changed", func(r *identityRow) *string { return &r.PasswordChanged }),
	textColumn("sealed_subject", func(r *identityRow) *string { return &r.SealedSubject }),
	numberColumn("endings", func(r *identityRow) *int64 { return &r.Endings }),
}

// newIdentityRow returns the row of i under a new version.
func (s *Store) newIdentityRow(i storage.Identity) (*identityRow, error) {
	claims, err := i.MarshalClaims()
	if err != nil {
		return nil, err
	}
	r := &identityRow{i, string(claims)}
	r.ClaimsAt, r.LastSignIn = r.ClaimsAt.UTC().Truncate(time.Microsecond), r.LastSignIn.UTC().Truncate(time.Microsecond)
	r.Version, err = s.newVersion()
	return r, err
}

// identity returns the record of a row.
func (r *identityRow) identity() (storage.Identity, error) {
	i := r.Identity
	i.ClaimsAt, i.LastSignIn = i.ClaimsAt.UTC(), i.LastSignIn.UTC()
	err := i.UnmarshalClaims([]byte(r.claims))
	return i, err
}

const identityExists = `SELECT EXISTS (SELECT 1 FROM oauth_identities WHERE server_uid = @server_uid AND subject = @subject)`

var (
	readIdentity = `SELECT ` + columnNames(identityColumns) + ` FROM oauth_identities WHERE server_uid = @server_uid AND subject = @subject`

	// createIdentity writes no row at a bound: $2 is that of the provider $3, and $4 that of the
	// server. Each count is an index-only scan that stops there; a server has few first sign-ins.
	// The columns begin at $5.
	createIdentity = `INSERT INTO oauth_identities (server_uid, ` + columnNames(identityColumns) + `)
		SELECT $1::TEXT, ` + typedColumnParameters(identityColumns, 5) + ` WHERE
			(SELECT COUNT(*) FROM (SELECT 1 FROM oauth_identities WHERE server_uid = $1 AND provider_uid = $3 LIMIT $2) AS of_provider) < $2::BIGINT AND
			(SELECT COUNT(*) FROM (SELECT 1 FROM oauth_identities WHERE server_uid = $1 LIMIT $4) AS of_server) < $4::BIGINT`

	// The version that was read is $2, and the columns but subject and incarnation begin at $4.
	// Older claims do not replace newer ones.
	updateIdentity = `UPDATE oauth_identities SET ` + columnAssignments(identityColumns[2:], 4) + `
		WHERE server_uid = $1 AND version = $2 AND subject = $3 AND (claims_at IS NULL OR claims_at <= $8) RETURNING incarnation`
)

const (
	countIdentities = `SELECT COUNT(*) FROM oauth_identities WHERE server_uid = @server_uid AND provider_uid = @provider_uid`

	// readIdleIdentities reads a batch of identities that are idle, in the order of their last sign-in,
	// after one of the batch before, and whether a grant of them lives. That is asked in a subquery of
	// each: PostgreSQL may execute a join by reading all grants.
	readIdleIdentities = `SELECT i.subject, i.last_sign_in, (SELECT MAX(g.expires_at) FROM oauth_grants AS g
			WHERE g.server_uid = @server_uid AND g.user_uid = i.subject AND g.ended_at IS NULL AND g.expires_at > @now) IS NOT NULL
		FROM oauth_identities AS i
		WHERE i.server_uid = @server_uid AND i.last_sign_in <= @idle_since AND (i.last_sign_in, i.subject) > (@after::TIMESTAMPTZ, @after_subject::TEXT)
		ORDER BY i.last_sign_in, i.subject LIMIT @limit`

	// deleteIdleIdentities leaves those whose user has just signed in.
	deleteIdleIdentities = `DELETE FROM oauth_identities
		WHERE server_uid = @server_uid AND last_sign_in <= @idle_since AND subject = ANY(@subjects::TEXT[])`
)

func (s *Store) identityKey(subject string) pgx.StrictNamedArgs {
	return pgx.StrictNamedArgs{"server_uid": s.options.ServerUID, "subject": subject}
}

// GetIdentity implements storage.Store.
func (s *Store) GetIdentity(ctx context.Context, subject string) (storage.Identity, error) {
	var found *identityRow
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		found = new(identityRow)
		err := c.QueryRow(ctx, readIdentity, s.identityKey(subject)).Scan(columnTargets(identityColumns, found)...)
		if errors.Is(err, pgx.ErrNoRows) {
			return storage.ErrNotFound
		}
		return err
	})
	if err != nil {
		return storage.Identity{}, err
	}
	return found.identity()
}

// CreateIdentity implements storage.Store. Concurrent statements do not see one another's rows, so a
// bound can be exceeded by as many identities as there are connections.
func (s *Store) CreateIdentity(ctx context.Context, i storage.Identity, maxOfProvider int) (storage.Identity, error) {
	row, err := s.newIdentityRow(i)
	if err != nil {
		return storage.Identity{}, err
	}
	row.Incarnation = row.Version // which is random; updates keep it
	args := columnValues(identityColumns, row, s.options.ServerUID, int64(maxOfProvider), row.ProviderUID, s.maxIdentities.Load())
	err = s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, createIdentity, args...)
		switch {
		case sqlState(err) == stateUniqueViolation:
			return storage.ErrExists
		case err == nil && tag.RowsAffected() == 0:
			return storage.ErrFull
		default:
			return err
		}
	})
	if errors.Is(err, storage.ErrFull) {
		exists, readErr := s.readBool(ctx, identityExists, s.identityKey(i.Subject))
		switch {
		case readErr != nil:
			err = readErr
		case exists:
			err = storage.ErrExists
		}
	}
	if err != nil {
		return storage.Identity{}, err
	}
	return row.identity()
}

// UpdateIdentity implements storage.Store.
func (s *Store) UpdateIdentity(ctx context.Context, i storage.Identity) (storage.Identity, error) {
	row, err := s.newIdentityRow(i)
	if err != nil {
		return storage.Identity{}, err
	}
	args := columnValues(identityColumns[2:], row, s.options.ServerUID, i.Version, row.Subject)
	err = s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		err := c.QueryRow(ctx, updateIdentity, args...).Scan(&row.Incarnation)
		if errors.Is(err, pgx.ErrNoRows) {
			return storage.ErrConflict
		}
		return err
	})
	if errors.Is(err, storage.ErrConflict) {
		err = s.conflictOrNotFound(ctx, identityExists, s.identityKey(i.Subject))
	}
	if err != nil {
		return storage.Identity{}, err
	}
	return row.identity()
}

// CountIdentities implements storage.Store.
func (s *Store) CountIdentities(ctx context.Context, providerUID string) (n int, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		args := pgx.StrictNamedArgs{"server_uid": s.options.ServerUID, "provider_uid": providerUID}
		return c.QueryRow(ctx, countIdentities, args).Scan(&n)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// identityPosition is how far the walk through idle identities has come: the last one that was read.
type identityPosition struct {
	lastSignIn time.Time
	subject    string
}

// identityBatches is how many batches of idle identities a sweep examines.
const identityBatches = 20

// sweepIdentities removes identities that are idle and not needed, and returns how many. It walks
// through those that are idle, some at each sweep. Those of a server that no longer exists stay, as
// consents do.
func (s *Store) sweepIdentities(ctx context.Context, now time.Time) (removed int, err error) {
	for range identityBatches {
		unneeded, last, err := s.readIdleIdentities(ctx, now, s.sweeping.identities)
		if err != nil {
			return removed, err
		}
		n, err := s.deleteIdentities(ctx, now, slices.DeleteFunc(unneeded, s.HasSpec))
		removed += n
		if err != nil {
			return removed, err
		}
		if s.sweeping.identities = last; last == (identityPosition{}) {
			return removed, nil
		}
	}
	return removed, nil
}

// readIdleIdentities returns the subjects of those of which no grant lives in the batch after a
// position, and the position of the last of the batch, which is zero if none follows it.
func (s *Store) readIdleIdentities(ctx context.Context, now time.Time, after identityPosition) (grantless []string, last identityPosition, err error) {
	args := pgx.StrictNamedArgs{
		"server_uid": s.options.ServerUID, "idle_since": now.Add(-storage.IdentityRetention).UTC(), "now": now.UTC(), "limit": sweepBatch,
		"after": after.lastSignIn.UTC(), "after_subject": after.subject,
	}
	read := 0
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		grantless, read = nil, 0
		rows, err := c.Query(ctx, readIdleIdentities, args)
		if err != nil {
			return err
		}
		var hasGrant bool
		_, err = pgx.ForEachRow(rows, []any{&last.subject, &last.lastSignIn, &hasGrant}, func() error {
			read++
			if !hasGrant {
				grantless = append(grantless, last.subject)
			}
			return nil
		})
		return err
	})
	if read < sweepBatch {
		last = identityPosition{}
	}
	return grantless, last, err
}

// deleteIdentities deletes identities that are still idle, and returns how many.
func (s *Store) deleteIdentities(ctx context.Context, now time.Time, subjects []string) (deleted int, err error) {
	if len(subjects) == 0 {
		return 0, nil
	}
	err = s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, deleteIdleIdentities, pgx.StrictNamedArgs{
			"server_uid": s.options.ServerUID, "idle_since": now.Add(-storage.IdentityRetention).UTC(), "subjects": subjects,
		})
		deleted = int(tag.RowsAffected())
		return err
	})
	return deleted, err
}
