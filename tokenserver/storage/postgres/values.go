package postgres

import (
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// nullable is a time whose zero value is NULL in the database.
type nullable time.Time

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (n *nullable) ScanTimestamptz(v pgtype.Timestamptz) error {
	if v.InfinityModifier != pgtype.Finite {
		return errors.New("a time is infinite")
	}
	*n = nullable(v.Time)
	if !v.Valid {
		*n = nullable{}
	}
	return nil
}

// orNull is NULL for the zero time.
func orNull(t time.Time) pgtype.Timestamptz { return pgtype.Timestamptz{Time: t, Valid: !t.IsZero()} }

// list is never NULL.
func list(items []string) []string {
	if items == nil {
		return []string{}
	}
	return items
}

// some copies a list, and is nil for an empty one.
func some(items []string) []string { return append([]string(nil), items...) }
