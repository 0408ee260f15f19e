// Package jsontext appends JSON to a buffer. The bytes are those of encoding/json, without its
// reflection, for the values of a fixed shape that each request has.
package jsontext

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
)

// Appender is a value that appends itself as encoding/json would encode it.
type Appender interface {
	AppendJSON(b []byte) []byte
}

// AppendString appends a string as encoding/json does. escapeHTML is as in json.Encoder.
func AppendString(b []byte, s string, escapeHTML bool) []byte {
	if !IsPlain(s) {
		return appendEscaped(b, s, escapeHTML)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// IsPlain reports whether encoding/json escapes nothing in s, whatever its settings. It may report
// false for other strings.
func IsPlain(s string) bool {
	for i := range len(s) {
		if !plain[s[i]] {
			return false
		}
	}
	return true
}

// plain are the characters that encoding/json never escapes.
var plain = func() (all [256]bool) {
	for c := ' '; c <= '~'; c++ {
		all[c] = true
	}
	for _, c := range `"\<>&` {
		all[c] = false
	}
	return all
}()

func appendEscaped(b []byte, s string, escapeHTML bool) []byte {
	var encoded bytes.Buffer
	e := json.NewEncoder(&encoded)
	e.SetEscapeHTML(escapeHTML)
	_ = e.Encode(s) // every string can be encoded
	return append(b, bytes.TrimSuffix(encoded.Bytes(), []byte("\n"))...)
}

// AppendStrings appends a list of strings as encoding/json does: null for nil.
func AppendStrings(b []byte, values []string, escapeHTML bool) []byte {
	if values == nil {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i, value := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendString(b, value, escapeHTML)
	}
	return append(b, ']')
}

// Object appends the members of a JSON object, from Begin to End. Names are appended as they are. The
// methods whose names end in NonEmpty append nothing for the zero value, as omitempty does.
type Object struct {
	b          []byte
	escapeHTML bool
	hasMember  bool
}

// Begin begins an object at the end of b. escapeHTML is as in json.Encoder.
func Begin(b []byte, escapeHTML bool) Object {
	return Object{b: append(b, '{'), escapeHTML: escapeHTML}
}

// End ends the object, and returns the buffer.
func (o *Object) End() []byte { return append(o.b, '}') }

func (o *Object) name(name string) {
	if o.hasMember {
		o.b = append(o.b, ',')
	}
	o.hasMember = true
	o.b = append(o.b, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
}

// String appends a member that is a string.
func (o *Object) String(name, value string) {
	o.name(name)
	o.b = AppendString(o.b, value, o.escapeHTML)
}

// StringNonEmpty appends a member that is a string, unless that is empty.
func (o *Object) StringNonEmpty(name, value string) {
	if value != "" {
		o.String(name, value)
	}
}

// Int appends a member that is a number.
func (o *Object) Int(name string, value int64) {
	o.name(name)
	o.b = strconv.AppendInt(o.b, value, 10)
}

// IntNonEmpty appends a member that is a number, unless that is zero.
func (o *Object) IntNonEmpty(name string, value int64) {
	if value != 0 {
		o.Int(name, value)
	}
}

// BytesNonEmpty appends a member that is bytes, in base64, unless there are none.
func (o *Object) BytesNonEmpty(name string, value []byte) {
	if len(value) == 0 {
		return
	}
	o.name(name)
	o.b = append(o.b, '"')
	o.b = base64.StdEncoding.AppendEncode(o.b, value)
	o.b = append(o.b, '"')
}

// StringsNonEmpty appends a member that is a list of strings, unless that is empty.
func (o *Object) StringsNonEmpty(name string, values []string) {
	if len(values) > 0 {
		o.name(name)
		o.b = AppendStrings(o.b, values, o.escapeHTML)
	}
}

// Value appends a member that appends itself.
func (o *Object) Value(name string, value Appender) {
	o.name(name)
	o.b = value.AppendJSON(o.b)
}
