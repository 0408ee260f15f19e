package documents

import (
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
)

// go test ./tokenserver/documents -update writes the fields of today over the golden file.
var update = flag.Bool("update", false, "write the golden file")

// A token server refuses a document with a field that it does not know. So the fields of a format
// are fixed by its release, and the file is only ever added to, by lines of a newer format.
func TestTheFieldsOfAFormatDoNotChange(t *testing.T) {
	var got strings.Builder
	for _, k := range documentKinds {
		walkFields(k.typ, k.name, func(path string, field reflect.StructField) {
			got.WriteString(path)
			for _, rule := range rulesOf(field, k.name) {
				got.WriteString(" " + k.format(rule.version))
				if rule.values != nil {
					got.WriteString("=" + strings.Join(rule.values, "|"))
				}
			}
			got.WriteString("\n")
		})
	}
	const file = "testdata/fields.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the fields are not those of %s. A field that is added after a release needs the tag `format` with a new "+
			"format, such as \"client/v2\"; before the first release, and when it has the tag, -update writes the file.\ngot:\n%s\nwant:\n%s", file, &got, want)
	}
}

// Else an older format would have it too, as null or "".
func TestAFieldOfALaterFormatIsLeftOutWhereItIsNotSet(t *testing.T) {
	for _, k := range documentKinds {
		walkFields(k.typ, k.name, func(path string, field reflect.StructField) {
			for _, rule := range rulesOf(field, k.name) {
				if rule.values == nil && !strings.Contains(field.Tag.Get("json"), ",omit") {
					t.Errorf("%s needs omitempty or omitzero", path)
				}
			}
		})
	}
}

func TestEveryTagOfAFormatNamesOne(t *testing.T) {
	for _, k := range documentKinds {
		walkFields(k.typ, k.name, func(path string, field reflect.StructField) {
			tag, ok := field.Tag.Lookup(formatTag)
			if !ok {
				return
			}
			for _, part := range strings.Split(tag, ",") {
				format, _, _ := strings.Cut(part, "=")
				if !Reads(format) || strings.HasSuffix(format, "/v1") {
					t.Errorf("%s: %q is no later format", path, format)
				}
			}
		})
	}
}

// later is a kind of document that has had four formats.
type later struct {
	Name      string         `json:"name"`
	Method    string         `json:"method,omitempty" format:"later/v3=private_key_jwt|WorkloadIdentity"`
	Grants    []string       `json:"grants,omitempty" format:"later/v2=device_code"`
	NotBefore int64          `json:"notBefore,omitempty" format:"later/v2"`
	Rules     []laterRule    `json:"rules,omitempty"`
	Claims    map[string]any `json:"claims,omitempty"`
	Nested    *laterRule     `json:"nested,omitempty" format:"other/v9"`
}

type laterRule struct {
	Until   int64    `json:"until,omitempty" format:"other/v2,later/v4"`
	Issuers []string `json:"issuers,omitempty" format:"later/v2"`
}

func withLaterKind(t *testing.T) {
	t.Helper()
	before := documentKinds
	documentKinds = append(documentKinds[:len(documentKinds):len(documentKinds)], kindOf("later", later{}))
	t.Cleanup(func() { documentKinds = before })
}

func TestADocumentHasTheOldestFormatThatCanSayIt(t *testing.T) {
	withLaterKind(t)
	for want, docs := range map[string][]later{
		"later/v1": {{}, {Name: "a", Method: "none"}, {Grants: []string{"password"}}, {Rules: []laterRule{{Issuers: []string{}}}},
			{Claims: map[string]any{"notBefore": 1}}, {Nested: &laterRule{}}},
		"later/v2": {{NotBefore: 1}, {Grants: []string{"password", "device_code"}}, {Rules: []laterRule{{}, {Issuers: []string{"a"}}}},
			{Nested: &laterRule{Issuers: []string{"a"}}}},
		"later/v3": {{Method: "private_key_jwt"}, {Method: "WorkloadIdentity", NotBefore: 1}},
		"later/v4": {{Method: "private_key_jwt", Rules: []laterRule{{Until: 1}}}, {Nested: &laterRule{Until: 1}}},
	} {
		for _, doc := range docs {
			if got := Format(doc); got != want {
				t.Errorf("Format(%+v) = %s, want %s", doc, got, want)
			}
		}
	}
	if !Reads("later/v4") || Reads("later/v5") || Reads("later/v0") || Reads("") {
		t.Errorf("reads %q", Formats())
	}
}

func TestAFormatHasItsOwnFieldsAndThoseOfTheFormatsBeforeIt(t *testing.T) {
	withLaterKind(t)
	const document = `{"name":"a","notBefore":1}`
	for _, format := range []string{"later/v2", "later/v3", "later/v4"} {
		if doc, err := Decode[later](format, document); err != nil || doc.NotBefore != 1 {
			t.Errorf("%s: %+v, %v", format, doc, err)
		}
	}
	if doc, err := Decode[later]("later/v1", document); err == nil || doc.Name != "" {
		t.Errorf("a document of the first format with a field of the second is read: %+v, %v", doc, err)
	}
	if _, err := Decode[later]("later/v5", document); !errors.Is(err, ErrFormat) {
		t.Errorf("a format that is not known: %v", err)
	}
}
