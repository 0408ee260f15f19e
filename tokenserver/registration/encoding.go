package registration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrFormat: the document has a format that the caller does not read.
var ErrFormat = errors.New("unknown document format")

// Formats that this version reads, in the order of the constants.
func Formats() []string {
	return []string{FormatServer, FormatClient, FormatUser, FormatResourceServer, FormatNamespace}
}

// Encode writes doc as JSON. The same facts give the same bytes (fields in the order of the struct, keys of maps sorted), so that comparing
// documents is comparing strings.
func Encode(doc any) (string, error) {
	b, err := json.Marshal(doc)
	if err != nil {
		return "", fmt.Errorf("encode document: %w", err)
	}
	return string(b), nil
}

// Decode reads a document of the format that T has. Fields that T does not have are ignored, since a newer manager may write them; anything
// after the document is an error, as is another format than T's (ErrFormat). Errors name no content of the document.
func Decode[T any](format, document string) (T, error) {
	var doc T
	if want := formatOf(any(doc)); format != want {
		return doc, fmt.Errorf("%w %q, want %q", ErrFormat, format, want)
	}
	d := json.NewDecoder(strings.NewReader(document))
	d.UseNumber() // the claims of users are free JSON, and their numbers keep all digits
	if err := d.Decode(&doc); err != nil {
		var zero T
		return zero, fmt.Errorf("decode %s: %w", format, describe(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		var zero T
		return zero, fmt.Errorf("decode %s: something follows the document", format)
	}
	return doc, nil
}

// formatOf names the format of a document type; empty for another type, which no format equals.
func formatOf(doc any) string {
	switch doc.(type) {
	case Server:
		return FormatServer
	case Client:
		return FormatClient
	case User:
		return FormatUser
	case ResourceServer:
		return FormatResourceServer
	case Namespace:
		return FormatNamespace
	}
	return "none"
}

// describe says where a document is wrong without quoting it: it may hold a password hash.
func describe(err error) error {
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		return fmt.Errorf("field %q is not a %s", typ.Field, typ.Type)
	}
	return errors.New("not valid JSON")
}
