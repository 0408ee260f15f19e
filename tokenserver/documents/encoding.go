package documents

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// ErrFormat is the error of a document whose format this version does not read.
var ErrFormat = errors.New("unknown document format")

// Encode returns a document as JSON. Equal documents have equal JSON: fields are in the order of
// the struct, keys of maps are sorted.
func Encode(doc any) (string, error) {
	b, err := json.Marshal(doc)
	if err != nil {
		return "", fmt.Errorf("encoding a document: %w", err)
	}
	return string(b), nil
}

// Decode decodes a document of one of the formats of T; for another format the error wraps
// ErrFormat. A field that the format does not have is an error, since it may be a constraint, and
// so is anything after the document. Errors do not quote the document.
func Decode[T any](format, document string) (T, error) {
	var doc, zero T
	kind, version, err := parseFormat[T](format)
	if err != nil {
		return zero, err
	}
	d := json.NewDecoder(strings.NewReader(document))
	d.UseNumber() // the claims of users are any JSON, and their numbers keep all digits
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return zero, fmt.Errorf("decoding %s: %w", format, withoutContent(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return zero, fmt.Errorf("decoding %s: there is data after the document", format)
	}
	if needed := kind.rules.neededVersion(reflect.ValueOf(&doc).Elem()); needed > version {
		return zero, fmt.Errorf("decoding %s: the document has a field or value of format %s", format, kind.format(needed))
	}
	return doc, nil
}

// parseFormat returns the kind of document that T is, and the version in a format of it.
func parseFormat[T any](format string) (documentKind, int, error) {
	for _, k := range documentKinds {
		if k.typ != reflect.TypeFor[T]() {
			continue
		}
		if version, ok := k.versionOf(format); ok {
			return k, version, nil
		}
		return k, 0, fmt.Errorf("%w %q, want %q or an older one", ErrFormat, format, k.formats[len(k.formats)-1])
	}
	return documentKind{}, 0, fmt.Errorf("%w %q", ErrFormat, format)
}

// withoutContent returns an error that says what is wrong with a document without quoting it, since
// it may contain a password hash.
func withoutContent(err error) error {
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		return fmt.Errorf("field %q is not a %s", typ.Field, typ.Type)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok { // encoding/json has no type for it
		return fmt.Errorf("the format has no field %s", name)
	}
	return errors.New("not valid JSON")
}
