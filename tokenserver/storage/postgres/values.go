package postgres

import (
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
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

// apiList has an element for each API: its UID, its identifier and its scopes, none of which holds
// a space, with a space between two of them. It is never NULL.
func apiList(apis []storage.API) []string {
	items := make([]string, 0, len(apis))
	for _, api := range apis {
		items = append(items, strings.Join(append([]string{api.UID, api.Identifier}, api.Scopes...), " "))
	}
	return items
}

// apiArray is a list of APIs that is scanned from what apiList made. It implements
// pgtype.ArraySetter.
type apiArray []storage.API

// SetDimensions implements pgtype.ArraySetter.
func (a *apiArray) SetDimensions(dimensions []pgtype.ArrayDimension) error {
	*a = nil
	if len(dimensions) > 0 {
		*a = make(apiArray, dimensions[0].Length)
	}
	return nil
}

// ScanIndex implements pgtype.ArraySetter.
func (a *apiArray) ScanIndex(i int) any { return (*apiText)(&(*a)[i]) }

// ScanIndexType implements pgtype.ArraySetter.
func (a *apiArray) ScanIndexType() any { return new(apiText) }

// apiText is one element.
type apiText storage.API

// ScanText implements pgtype.TextScanner.
func (a *apiText) ScanText(v pgtype.Text) error {
	words := strings.Split(v.String, " ")
	if !v.Valid || len(words) < 2 {
		return errors.New("an API is not a UID, an identifier and scopes")
	}
	*a = apiText{UID: words[0], Identifier: words[1], Scopes: some(words[2:])}
	return nil
}

// keptAPIs is a copy as the database keeps it.
func keptAPIs(apis []storage.API) []storage.API {
	var kept []storage.API
	for _, api := range apis {
		api.Scopes = some(api.Scopes)
		kept = append(kept, api)
	}
	return kept
}

// some copies a list, and is nil for an empty one.
func some(items []string) []string { return append([]string(nil), items...) }
