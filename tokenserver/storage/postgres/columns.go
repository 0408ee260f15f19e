package postgres

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// column binds a column to a field of a record: the value to write, and the target to scan into.
// The two differ because a pooler may not know prepared statements
// (default_query_exec_mode=exec), and then pgx can write only types that it knows.
type column struct {
	name          string
	value, target any
}

// columnNames returns the names as in SELECT or INSERT: "a, b".
func columnNames(columns []column) string {
	return joinColumns(columns, func(_ int, name string) string { return name })
}

// columnParameters returns numbered parameters as in VALUES: "$2, $3" if first is 2.
func columnParameters(columns []column, first int) string {
	return joinColumns(columns, func(i int, _ string) string { return fmt.Sprint("$", first+i) })
}

// columnAssignments returns assignments as in UPDATE ... SET: "a = $2, b = $3" if first is 2.
func columnAssignments(columns []column, first int) string {
	return joinColumns(columns, func(i int, name string) string { return fmt.Sprint(name, " = $", first+i) })
}

func joinColumns(columns []column, format func(i int, name string) string) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = format(i, c.name)
	}
	return strings.Join(parts, ", ")
}

// columnValues returns the arguments for columnParameters or columnAssignments, behind those given.
func columnValues(columns []column, before ...any) []any {
	for _, c := range columns {
		before = append(before, c.value)
	}
	return before
}

// columnTargets returns what a row with the columns is scanned into.
func columnTargets(columns []column) []any {
	targets := make([]any, len(columns))
	for i, c := range columns {
		targets[i] = c.target
	}
	return targets
}

// nullableTime is a scan target: NULL is scanned as the zero time.
type nullableTime time.Time

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (n *nullableTime) ScanTimestamptz(v pgtype.Timestamptz) error {
	if v.InfinityModifier != pgtype.Finite {
		return errors.New("a time is infinite")
	}
	*n = nullableTime(v.Time)
	if !v.Valid {
		*n = nullableTime{}
	}
	return nil
}

// nullIfZero is the value to write for a time: the zero time is written as NULL.
func nullIfZero(t time.Time) pgtype.Timestamptz {
	return pgtype.Timestamptz{Time: t, Valid: !t.IsZero()}
}

// nonNil is the value to write for a list: nil would be written as NULL.
func nonNil(items []string) []string {
	if items == nil {
		return []string{}
	}
	return items
}

// encodeAPIs is the value to write for a list of APIs. Each element is the UID, the identifier and
// the scopes of one, separated by spaces, which none of them contains.
func encodeAPIs(apis []storage.API) []string {
	items := make([]string, 0, len(apis))
	for _, api := range apis {
		items = append(items, strings.Join(append([]string{api.UID, api.Identifier}, api.Scopes...), " "))
	}
	return items
}

// apiArray is a scan target: it decodes what encodeAPIs encodes. It implements pgtype.ArraySetter.
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

// apiText is the scan target of one element of an apiArray.
type apiText storage.API

// ScanText implements pgtype.TextScanner.
func (a *apiText) ScanText(v pgtype.Text) error {
	words := strings.Split(v.String, " ")
	if !v.Valid || len(words) < 2 {
		return errors.New("an API is not a UID, an identifier and scopes")
	}
	*a = apiText{UID: words[0], Identifier: words[1], Scopes: cloneOrNil(words[2:])}
	return nil
}

// cloneAPIs returns a copy as the database would return it: with nil for empty lists.
func cloneAPIs(apis []storage.API) []storage.API {
	var clones []storage.API
	for _, api := range apis {
		api.Scopes = cloneOrNil(api.Scopes)
		clones = append(clones, api)
	}
	return clones
}

// cloneOrNil returns a copy of a list, or nil if it is empty.
func cloneOrNil(items []string) []string { return append([]string(nil), items...) }
