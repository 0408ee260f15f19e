package mint_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/quick"

	"github.com/oauth-operator/oauth-operator/tokenserver/jsontext"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// sameJSON reports whether a value appends itself as encoding/json encodes it.
func sameJSON(t *testing.T, v jsontext.Appender, escapeHTML bool) bool {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(escapeHTML)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	got, want := string(v.AppendJSON(nil)), strings.TrimSuffix(b.String(), "\n")
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
	return got == want
}

// A field that is new and not appended fails it too: the random values have it.
func TestTheJSONOfAccessTokensIsThatOfEncodingJSON(t *testing.T) {
	claims := func(c mint.AccessClaims) bool { return sameJSON(t, c, false) }
	id := func(id mint.TokenID, binding registry.PackedBinding) bool { // testing/quick leaves that of id empty
		id.Binding = binding
		return sameJSON(t, id, true)
	}
	for _, check := range []any{claims, id} {
		if err := quick.Check(check, &quick.Config{MaxCount: 200}); err != nil {
			t.Error(err)
		}
	}
	claims(mint.AccessClaims{})
	claims(mint.AccessClaims{Issuer: "https://a.example.com/?a=1&b=<2>", Audience: mint.Audience{"https://a.example.com/?a=1&b=<2>"}})
	id(mint.TokenID{}, registry.PackedBinding{})
	id(mint.TokenID{ClientUID: "client-uid"}, registry.PackedBinding{UIDHashes: []byte{}})
}

func TestAnAudienceOfOneIsAStringAndOthersAreLists(t *testing.T) {
	for want, a := range map[string]mint.Audience{
		`null`: nil, `[]`: {}, `"a"`: {"a"}, `["a","b"]`: {"a", "b"}, `"\u003ca\u0026\""`: {`<a&"`},
	} {
		if got, err := json.Marshal(a); err != nil || string(got) != want {
			t.Errorf("%q: %s, %v; want %s", a, got, err, want)
		}
	}
}
