package jsontext_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/quick"

	"github.com/oauth-operator/oauth-operator/tokenserver/jsontext"
)

// encoded returns the JSON of a value by encoding/json.
func encoded(t *testing.T, v any, escapeHTML bool) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(escapeHTML)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func FuzzStringsAreThoseOfEncodingJSON(f *testing.F) {
	for c := range 256 {
		f.Add("a" + string([]byte{byte(c)}) + "b")
	}
	for _, s := range []string{"", "orders:read", "ünïcödé", "\u2028", "\xff\xfe", "<script>&amp;</script>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, escapeHTML := range []bool{true, false} {
			if got, want := string(jsontext.AppendString([]byte("before"), s, escapeHTML)), "before"+encoded(t, s, escapeHTML); got != want {
				t.Errorf("%q: %s, want %s", s, got, want)
			}
		}
		var line bytes.Buffer
		slog.New(slog.NewJSONHandler(&line, nil)).Info(s)
		if jsontext.IsPlain(s) && !strings.Contains(line.String(), `"msg":"`+s+`"`) {
			t.Errorf("%q is plain, and logged as %s", s, line.String())
		}
	})
}

// object has a member of each kind.
type object struct {
	Text   string   `json:"text"`
	Some   string   `json:"some,omitempty"`
	Number int64    `json:"number"`
	Count  int64    `json:"count,omitempty"`
	Raw    []byte   `json:"raw,omitempty"`
	List   []string `json:"list,omitempty"`
	Inner  list     `json:"inner"`
}

type list []string

func (l list) AppendJSON(b []byte) []byte { return jsontext.AppendStrings(b, l, true) }

func (o object) append(escapeHTML bool) string {
	a := jsontext.Begin(nil, escapeHTML)
	a.String("text", o.Text)
	a.StringNonEmpty("some", o.Some)
	a.Int("number", o.Number)
	a.IntNonEmpty("count", o.Count)
	a.BytesNonEmpty("raw", o.Raw)
	a.StringsNonEmpty("list", o.List)
	a.Value("inner", o.Inner)
	return string(a.End())
}

func TestObjectsAreThoseOfEncodingJSON(t *testing.T) {
	for _, o := range []object{{}, {List: []string{}, Inner: list{}}, {Raw: []byte{0}, List: []string{""}}, {Some: "a", Count: -1, Number: 1 << 62}} {
		if got, want := o.append(true), encoded(t, o, true); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for _, escapeHTML := range []bool{true, false} {
		same := func(o object) bool {
			if !escapeHTML {
				o.Inner = nil // it escapes by itself
			}
			return o.append(escapeHTML) == encoded(t, o, escapeHTML)
		}
		if err := quick.Check(same, nil); err != nil {
			t.Error(err)
		}
	}
}
