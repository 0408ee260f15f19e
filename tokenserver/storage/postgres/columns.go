package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// column binds a column to a field of a record.
type column[R any] struct {
	name, sqlType string
	// value returns what is written for the field, and target what it is scanned into. The two differ
	// because a pooler may not know prepared statements (default_query_exec_mode=exec), and then pgx can
	// write only types that it knows.
	value, target func(*R) any
}

// columnOf returns a column whose field is written and scanned as it is.
func columnOf[R, T any](name, sqlType string, field func(*R) *T) column[R] {
	return column[R]{name, sqlType, func(r *R) any { return *field(r) }, func(r *R) any { return field(r) }}
}

func textColumn[R any](name string, field func(*R) *string) column[R] {
	return columnOf(name, "TEXT", field)
}

func numberColumn[R any](name string, field func(*R) *int64) column[R] {
	return columnOf(name, "BIGINT", field)
}

func boolColumn[R any](name string, field func(*R) *bool) column[R] {
	return columnOf(name, "BOOLEAN", field)
}

func timeColumn[R any](name string, field func(*R) *time.Time) column[R] {
	return columnOf(name, "TIMESTAMPTZ", field)
}

// nullableTimeColumn is a timeColumn whose zero time is NULL.
func nullableTimeColumn[R any](name string, field func(*R) *time.Time) column[R] {
	c := timeColumn(name, field)
	c.value = func(r *R) any { return pgtype.Timestamptz{Time: *field(r), Valid: !field(r).IsZero()} }
	c.target = func(r *R) any { return (*nullableTime)(field(r)) }
	return c
}

// listColumn writes nil as the empty list, and not as NULL.
func listColumn[R any](name string, field func(*R) *[]string) column[R] {
	c := columnOf(name, "TEXT[]", field)
	c.value = func(r *R) any {
		if list := *field(r); list != nil {
			return list
		}
		return []string{}
	}
	return c
}

func apisColumn[R any](name string, field func(*R) *[]storage.API) column[R] {
	c := columnOf(name, "TEXT[]", field)
	c.value = func(r *R) any { return encodeAPIs(*field(r)) }
	c.target = func(r *R) any { return (*apiArray)(field(r)) }
	return c
}

// columnNames returns the names as in SELECT or INSERT: "a, b".
func columnNames[R any](columns []column[R]) string {
	return joinColumns(columns, func(_ int, c column[R]) string { return c.name })
}

// columnNamesOf returns the names as columns of a table: "t.a, t.b".
func columnNamesOf[R any](table string, columns []column[R]) string {
	return joinColumns(columns, func(_ int, c column[R]) string { return table + "." + c.name })
}

// columnParameters returns numbered parameters as in VALUES: "$2, $3" if first is 2.
func columnParameters[R any](columns []column[R], first int) string {
	return joinColumns(columns, func(i int, _ column[R]) string { return fmt.Sprint("$", first+i) })
}

// typedColumnParameters returns numbered parameters with their types, which a SELECT does not infer
// from the table that it is inserted into: "$2::TEXT, $3::BIGINT" if first is 2.
func typedColumnParameters[R any](columns []column[R], first int) string {
	return joinColumns(columns, func(i int, c column[R]) string { return fmt.Sprint("$", first+i, "::", c.sqlType) })
}

// columnParameter returns the numbered parameter of one of the columns.
func columnParameter[R any](columns []column[R], first int, name string) string {
	return fmt.Sprint("$", first+slices.IndexFunc(columns, func(c column[R]) bool { return c.name == name }))
}

// columnAssignments returns assignments as in UPDATE ... SET: "a = $2, b = $3" if first is 2.
func columnAssignments[R any](columns []column[R], first int) string {
	return joinColumns(columns, func(i int, c column[R]) string { return fmt.Sprint(c.name, " = $", first+i) })
}

func joinColumns[R any](columns []column[R], format func(i int, c column[R]) string) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = format(i, c)
	}
	return strings.Join(parts, ", ")
}

// columnValues returns the arguments for columnParameters or columnAssignments, behind those given.
func columnValues[R any](columns []column[R], r *R, before ...any) []any {
	values := slices.Grow(before, len(columns))
	for _, c := range columns {
		values = append(values, c.value(r))
	}
	return values
}

// columnTargets returns what a row with the columns is scanned into, and behind them what else is.
func columnTargets[R any](columns []column[R], r *R, further ...any) []any {
	targets := make([]any, 0, len(columns)+len(further))
	for _, c := range columns {
		targets = append(targets, c.target(r))
	}
	return append(targets, further...)
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
