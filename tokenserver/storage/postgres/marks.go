package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	setMark = `INSERT INTO oauth_marks (server_uid, kind, id, expires_at, user_uid, client_uid, namespace) VALUES ($2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (server_uid, kind, id) DO UPDATE SET expires_at = GREATEST(oauth_marks.expires_at, excluded.expires_at)
		RETURNING $1::BIGINT`

	// setBoundedMark does so where there is room or the mark is there already: no row is the answer at a bound. Each count reads an index
	// alone, and stops at the bound. $9 is the time, $10 to $12 are the bounds.
	setBoundedMark = `INSERT INTO oauth_marks (server_uid, kind, id, expires_at, user_uid, client_uid, namespace)
		SELECT $2::TEXT, $3::TEXT, $4::TEXT, $5::TIMESTAMPTZ, $6::TEXT, $7::TEXT, $8::TEXT
		WHERE EXISTS (SELECT 1 FROM oauth_marks WHERE server_uid = $2 AND kind = $3 AND id = $4) OR (
			($10::BIGINT = 0 OR $6::TEXT = '' OR $7::TEXT = '' OR (SELECT COUNT(*) FROM (SELECT 1 FROM oauth_marks
				WHERE server_uid = $2 AND kind = $3 AND client_uid = $7 AND user_uid = $6 AND expires_at > $9 LIMIT $10) AS of_both) < $10) AND
			($11::BIGINT = 0 OR $7::TEXT = '' OR (SELECT COUNT(*) FROM (SELECT 1 FROM oauth_marks
				WHERE server_uid = $2 AND kind = $3 AND client_uid = $7 AND expires_at > $9 LIMIT $11) AS of_client) < $11) AND
			($12::BIGINT = 0 OR $8::TEXT = '' OR (SELECT COUNT(*) FROM (SELECT 1 FROM oauth_marks
				WHERE server_uid = $2 AND kind = $3 AND namespace = $8 AND expires_at > $9 LIMIT $12) AS of_namespace) < $12))
		ON CONFLICT (server_uid, kind, id) DO UPDATE SET expires_at = GREATEST(oauth_marks.expires_at, excluded.expires_at)
		RETURNING $1::BIGINT`

	// One row, whatever the answer: mostly there is no mark.
	readMark = `SELECT $1::BIGINT, EXISTS (SELECT 1 FROM oauth_marks WHERE server_uid = $2 AND kind = $3 AND id = $4 AND expires_at > $5)`

	countMarksOfUser = `SELECT $1::BIGINT, COUNT(*) FROM (
		SELECT 1 FROM oauth_marks WHERE server_uid = $2 AND kind = $3 AND user_uid = $4 AND expires_at > $5 LIMIT $6) AS of_user`

	// countTokenMarks is for the census of the server's.
	countTokenMarks = `SELECT $1::BIGINT, COUNT(*) FROM (
		SELECT 1 FROM oauth_marks WHERE server_uid = $2 AND kind = 'token' AND expires_at > $3 LIMIT $4) AS live`
)

// SetMark implements storage.Store. Statements that run at the same moment do not see one another: a bound can be exceeded by as many marks as
// there are connections.
func (s *Store) SetMark(ctx context.Context, m storage.Mark) error {
	row := []any{s.options.ServerUID, string(m.Kind), m.ID, m.ExpiresAt.UTC(), m.UserUID, m.ClientUID, m.Namespace}
	bounds := s.markBounds(m.Kind)
	if bounds == (storage.MarkBounds{}) {
		return s.call(ctx, writes, func(ctx context.Context, c *conn) error { return c.row(ctx, setMark, row) })
	}
	var err error
	if m.Kind == storage.MarkToken && bounds.PerServer > 0 {
		err = s.admit(ctx, &s.tokenMarks)
	}
	if err == nil {
		row = append(row, s.options.Now().UTC(), bounds.PerUserAndClient, bounds.PerClient, bounds.PerNamespace)
		err = s.call(ctx, writes, func(ctx context.Context, c *conn) error {
			err := c.row(ctx, setBoundedMark, row)
			if errors.Is(err, pgx.ErrNoRows) {
				return storage.ErrFull
			}
			return err
		})
	}
	if errors.Is(err, storage.ErrFull) {
		if marked, reading := s.IsMarked(ctx, m.Kind, m.ID); marked || reading != nil {
			return reading
		}
	}
	return err
}

// IsMarked implements storage.Store.
func (s *Store) IsMarked(ctx context.Context, kind storage.MarkKind, id string) (marked bool, err error) {
	err = s.call(ctx, reads, func(ctx context.Context, c *conn) error {
		return c.row(ctx, readMark, []any{s.options.ServerUID, string(kind), id, s.options.Now().UTC()}, &marked)
	})
	return marked && err == nil, err
}

// CountMarks implements storage.Store.
func (s *Store) CountMarks(ctx context.Context, kind storage.MarkKind, userUID string, limit int) (n int, err error) {
	err = s.call(ctx, reads, func(ctx context.Context, c *conn) error {
		return c.row(ctx, countMarksOfUser, []any{s.options.ServerUID, string(kind), userUID, s.options.Now().UTC(), limit}, &n)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}
