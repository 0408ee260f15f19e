package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	insertMark = `INSERT INTO oauth_marks (server_uid, kind, id, expires_at, user_uid, client_uid, namespace)`

	// keepLaterExpiry is for a mark that is set already.
	keepLaterExpiry = `
		ON CONFLICT (server_uid, kind, id) DO UPDATE SET expires_at = GREATEST(oauth_marks.expires_at, excluded.expires_at)`

	setMark = insertMark + ` VALUES (@server_uid, @kind, @id, @expires_at, @user_uid, @client_uid, @namespace)` + keepLaterExpiry

	setBoundedMark = insertMark + withinBounds + keepLaterExpiry

	// createBoundedMark writes no row if the mark is set already, whatever other statements do at
	// the same time.
	createBoundedMark = insertMark + withinBounds + ` ON CONFLICT (server_uid, kind, id) DO NOTHING`

	// withinBounds selects no row at a bound, unless the mark is set already. A bound of 0 is none.
	// Each count is an index-only scan that stops at the bound.
	withinBounds = `
		SELECT @server_uid::TEXT, @kind::TEXT, @id::TEXT, @expires_at::TIMESTAMPTZ, @user_uid::TEXT, @client_uid::TEXT, @namespace::TEXT
		WHERE EXISTS (SELECT 1 FROM oauth_marks WHERE server_uid = @server_uid AND kind = @kind AND id = @id) OR (
			(@per_user_and_client::BIGINT = 0 OR @user_uid::TEXT = '' OR @client_uid::TEXT = '' OR (SELECT COUNT(*) FROM (SELECT 1 FROM oauth_marks
				WHERE server_uid = @server_uid AND kind = @kind AND client_uid = @client_uid AND user_uid = @user_uid AND expires_at > @now
				LIMIT @per_user_and_client) AS of_user_and_client) < @per_user_and_client) AND
			(@per_client::BIGINT = 0 OR @client_uid::TEXT = '' OR (SELECT COUNT(*) FROM (SELECT 1 FROM oauth_marks
				WHERE server_uid = @server_uid AND kind = @kind AND client_uid = @client_uid AND expires_at > @now
				LIMIT @per_client) AS of_client) < @per_client) AND
			(@per_namespace::BIGINT = 0 OR @namespace::TEXT = '' OR (SELECT COUNT(*) FROM (SELECT 1 FROM oauth_marks
				WHERE server_uid = @server_uid AND kind = @kind AND namespace = @namespace AND expires_at > @now
				LIMIT @per_namespace) AS of_namespace) < @per_namespace))`

	// markRowExists counts a mark that has expired and was not swept yet.
	markRowExists = `SELECT EXISTS (SELECT 1 FROM oauth_marks WHERE server_uid = @server_uid AND kind = @kind AND id = @id)`

	markExists = `SELECT EXISTS (SELECT 1 FROM oauth_marks WHERE server_uid = @server_uid AND kind = @kind AND id = @id AND expires_at > @now)`

	countMarksOfUser = `SELECT COUNT(*) FROM (SELECT 1 FROM oauth_marks
		WHERE server_uid = @server_uid AND kind = @kind AND user_uid = @user_uid AND expires_at > @now LIMIT @limit) AS of_user`

	// countTokenMarks is for the recordCounter of the server's bound.
	countTokenMarks = `SELECT COUNT(*) FROM (SELECT 1 FROM oauth_marks
		WHERE server_uid = @server_uid AND kind = 'token' AND expires_at > @now LIMIT @limit) AS live`
)

// SetMark implements storage.Store. Concurrent statements do not see one another's rows, so a bound
// can be exceeded by as many marks as there are connections.
func (s *Store) SetMark(ctx context.Context, m storage.Mark) error {
	statement, args := setBoundedMark, s.markArgs(m)
	if s.markBoundsOf(m.Kind) == (storage.MarkBounds{}) {
		statement = setMark
		for _, name := range []string{"now", "per_user_and_client", "per_client", "per_namespace"} {
			delete(args, name)
		}
	}
	err := s.insertMark(ctx, m.Kind, statement, args)
	if errors.Is(err, storage.ErrFull) {
		if isMarked, readErr := s.IsMarked(ctx, m.Kind, m.ID); isMarked || readErr != nil {
			return readErr
		}
	}
	return err
}

// CreateMark implements storage.Store, with bounds as SetMark keeps them.
func (s *Store) CreateMark(ctx context.Context, m storage.Mark) error {
	err := s.insertMark(ctx, m.Kind, createBoundedMark, s.markArgs(m))
	if !errors.Is(err, storage.ErrFull) {
		return err
	}
	exists, readErr := s.readBool(ctx, markRowExists, pgx.StrictNamedArgs{"server_uid": s.options.ServerUID, "kind": string(m.Kind), "id": m.ID})
	switch {
	case readErr != nil:
		return readErr
	case exists:
		return storage.ErrExists
	default:
		return err
	}
}

// markArgs returns the arguments of an insertion within bounds.
func (s *Store) markArgs(m storage.Mark) pgx.StrictNamedArgs {
	bounds := s.markBoundsOf(m.Kind)
	return pgx.StrictNamedArgs{
		"server_uid": s.options.ServerUID, "kind": string(m.Kind), "id": m.ID, "expires_at": m.ExpiresAt.UTC(),
		"user_uid": m.UserUID, "client_uid": m.ClientUID, "namespace": m.Namespace, "now": s.options.Now().UTC(),
		"per_user_and_client": bounds.PerUserAndClient, "per_client": bounds.PerClient, "per_namespace": bounds.PerNamespace,
	}
}

// insertMark executes a statement that inserts a mark. It returns ErrFull if no row was written.
func (s *Store) insertMark(ctx context.Context, kind storage.MarkKind, statement string, args pgx.StrictNamedArgs) error {
	if kind == storage.MarkToken && s.markBoundsOf(kind).PerServer > 0 {
		if err := s.reserveRecord(ctx, s.tokenMarks); err != nil {
			return err
		}
	}
	return s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, statement, args)
		if err == nil && tag.RowsAffected() == 0 {
			return storage.ErrFull
		}
		return err
	})
}

// IsMarked implements storage.Store.
func (s *Store) IsMarked(ctx context.Context, kind storage.MarkKind, id string) (bool, error) {
	return s.readBool(ctx, markExists, pgx.StrictNamedArgs{
		"server_uid": s.options.ServerUID, "kind": string(kind), "id": id, "now": s.options.Now().UTC(),
	})
}

// CountMarks implements storage.Store.
func (s *Store) CountMarks(ctx context.Context, kind storage.MarkKind, userUID string, limit int) (n int, err error) {
	args := pgx.StrictNamedArgs{
		"server_uid": s.options.ServerUID, "kind": string(kind), "user_uid": userUID, "now": s.options.Now().UTC(), "limit": limit,
	}
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, countMarksOfUser, args).Scan(&n)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}
