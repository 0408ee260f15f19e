package batchlog

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/jsontext"
)

// appendLine appends a record as a slog.JSONHandler without attributes of its own writes it, in less
// time. It reports false, and what it returns is of no use, unless all that the record has are numbers
// and strings in which nothing is escaped.
func appendLine(b []byte, r slog.Record) (line []byte, ok bool) {
	if r.Time.IsZero() || !jsontext.IsPlain(r.Message) {
		return b, false
	}
	b = append(b, `{"time":"`...)
	b = r.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"`...)
	b = append(b, r.Level.String()...)
	b = append(b, `","msg":"`...)
	b = append(b, r.Message...)
	b = append(b, '"')
	ok = true
	r.Attrs(func(a slog.Attr) bool {
		b, ok = appendAttribute(b, a)
		return ok
	})
	return append(b, "}\n"...), ok
}

// appendAttribute is appendLine for one attribute.
func appendAttribute(b []byte, a slog.Attr) (line []byte, ok bool) {
	if !jsontext.IsPlain(a.Key) {
		return b, false
	}
	b = append(b, `,"`...)
	b = append(b, a.Key...)
	b = append(b, `":`...)
	switch a.Value.Kind() {
	case slog.KindString:
		value := a.Value.String()
		if !jsontext.IsPlain(value) {
			return b, false
		}
		b = append(b, '"')
		b = append(b, value...)
		return append(b, '"'), true
	case slog.KindInt64:
		return strconv.AppendInt(b, a.Value.Int64(), 10), true
	case slog.KindDuration:
		return strconv.AppendInt(b, int64(a.Value.Duration()), 10), true
	}
	return b, false
}
