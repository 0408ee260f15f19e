package documents

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// ErrFormat: the document has a format that the caller does not read.
var ErrFormat = errors.New("unknown document format")

// Encode writes doc as JSON. The same facts give the same bytes (fields in the order of the struct, keys of maps sorted), so that comparing
// documents is comparing strings.
func Encode(doc any) (string, error) {
	b, err := json.Marshal(doc)
	if err != nil {
		return "", fmt.Errorf("encode document: %w", err)
	}
	return string(b), nil
}

// Decode reads a document that has one of the formats of T; another format is ErrFormat. A field that
// the format does not have is an error and not left out, since it may be a constraint. So is anything
// after the document. Errors name no content of the document.
func Decode[T any](format, document string) (T, error) {
	var doc, zero T
	kind, version, err := readable[T](format)
	if err != nil {
		return zero, err
	}
	d := json.NewDecoder(strings.NewReader(document))
	d.UseNumber() // the claims of users are free JSON, and their numbers keep all digits
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return zero, fmt.Errorf("decode %s: %w", format, describe(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return zero, fmt.Errorf("decode %s: something follows the document", format)
	}
	if needed := kind.version(reflect.ValueOf(doc)); needed > version {
		return zero, fmt.Errorf("decode %s: the document says what only %s can say", format, kind.format(needed))
	}
	return doc, nil
}

// readable finds the kind of document that T is, and the number of a format of it.
func readable[T any](format string) (documentKind, int, error) {
	for _, k := range documentKinds {
		if k.typ != reflect.TypeFor[T]() {
			continue
		}
		if version, ok := k.number(format); ok {
			return k, version, nil
		}
		return k, 0, fmt.Errorf("%w %q, want %q or an older one", ErrFormat, format, k.format(k.newest))
	}
	return documentKind{}, 0, fmt.Errorf("%w %q", ErrFormat, format)
}

// describe says where a document is wrong without quoting it: it may hold a password hash.
func describe(err error) error {
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		return fmt.Errorf("field %q is not a %s", typ.Field, typ.Type)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok { // encoding/json has no type for it
		return fmt.Errorf("the format has no field %s", name)
	}
	return errors.New("not valid JSON")
}
