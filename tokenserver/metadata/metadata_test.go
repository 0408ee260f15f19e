package metadata

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
)

func server(grants ...string) documents.Server {
	return documents.Server{
		UID: "server", Issuer: "https://auth.example.com/t1", Algorithms: []string{"ES256", "RS256"}, AccessTokenLifetime: 300,
		AllowedClients: []documents.ClientRule{
			{Name: "none", Namespaces: documents.Namespaces{All: true}}, {Name: "some", Namespaces: documents.Namespaces{All: true}, GrantTypes: grants},
		},
	}
}

func TestWhatNoRuleAllowsIsNotAdvertised(t *testing.T) {
	for _, c := range []struct{ grants, types, modes, challenge []string }{
		{[]string{"client_credentials"}, nil, nil, nil},
		{[]string{"authorization_code", "refresh_token"}, []string{"code"}, []string{"query", "fragment", "form_post"}, []string{"S256"}},
		{[]string{"implicit"}, []string{"token", "id_token", "id_token token"}, []string{"fragment", "form_post"}, nil},
		{
			[]string{"authorization_code", "implicit", "password", "client_credentials", "refresh_token"},
			[]string{"code", "token", "id_token", "id_token token", "code token", "code id_token", "code id_token token"},
			[]string{"query", "fragment", "form_post"}, []string{"S256"},
		},
	} {
		d := Describe(server(c.grants...), nil, time.Now())
		if !slices.Equal(d.GrantTypes, c.grants) || !slices.Equal(d.ResponseTypes, c.types) || !slices.Equal(d.ResponseModes, c.modes) ||
			!slices.Equal(d.CodeChallenge, c.challenge) {
			t.Errorf("%v: %+v", c.grants, d)
		}
	}
}

func TestAHybridResponseTypeNeedsOneRuleThatAllowsBothGrants(t *testing.T) {
	s := server("authorization_code")
	s.AllowedClients = append(s.AllowedClients, documents.ClientRule{Name: "other", GrantTypes: []string{"implicit"}})
	if types := Describe(s, nil, time.Now()).ResponseTypes; !slices.Equal(types, []string{"code", "token", "id_token", "id_token token"}) {
		t.Errorf("advertises %v", types)
	}
}

func TestTheDocumentHasNoEmptyListAndSaysWhatIsNotTheDefault(t *testing.T) {
	b, err := json.Marshal(Describe(server("client_credentials"), nil, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(b, &members); err != nil {
		t.Fatal(err)
	}
	for name, value := range members {
		if list, ok := value.([]any); ok && len(list) == 0 || value == nil {
			t.Errorf("%s is empty (RFC 8414 section 3.2)", name)
		}
	}
	for name, want := range map[string]any{
		"request_uri_parameter_supported": false, "request_parameter_supported": false, "claims_parameter_supported": true,
		"authorization_response_iss_parameter_supported": true,
	} {
		if got, ok := members[name]; !ok || got != want {
			t.Errorf("%s = %v, %v, want %v", name, got, ok, want)
		}
	}
}

func TestTheDocumentIsExact(t *testing.T) {
	d := Describe(server("authorization_code", "implicit"), []string{"openid", "orders:read"}, time.Now())
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "document.json"))
	if err != nil {
		t.Fatal(err)
	}
	if string(b)+"\n" != string(want) {
		t.Errorf("the document is not that of testdata/document.json:\n%s", b)
	}
}

// handler over a registry and keys with a server in them.
func handler(t *testing.T) *Handler {
	t.Helper()
	dir := t.TempDir()
	s := server("authorization_code")
	kid, content, err := keys.GenerateSigning("ES256", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, kid+".pem"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Keys = []documents.Key{{KID: kid, Algorithm: "ES256", Phase: documents.KeyPublished}}
	h := &Handler{Registry: registry.New(time.Now), Keys: keys.NewSet(rand.Reader), Now: time.Now}
	if err := h.Keys.LoadDir(dir); err != nil {
		t.Fatal(err)
	}
	registrytest.Fill(t, h.Registry, s)
	h.Keys.SetDocument(s)
	return h
}

func TestNothingOfTheRequestChangesTheDocument(t *testing.T) {
	h := handler(t)
	plain := httptest.NewRecorder()
	if err := h.Discovery(plain, httptest.NewRequest(http.MethodGet, "https://auth.example.com/t1"+oauth.PathOpenIDConfiguration, nil)); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "http://evil.example/x?issuer=https://evil.example", nil)
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Forwarded-Prefix", "X-Original-URL", "Origin"} {
		r.Header.Set(name, "evil.example")
	}
	forged := httptest.NewRecorder()
	if err := h.Discovery(forged, r); err != nil {
		t.Fatal(err)
	}
	if plain.Body.String() != forged.Body.String() || strings.Contains(forged.Body.String(), "evil") {
		t.Errorf("forged: %s", forged.Body)
	}
}

func TestTheDocumentFollowsTheServer(t *testing.T) {
	h := handler(t)
	ask := func() Document {
		w := httptest.NewRecorder()
		if err := h.Discovery(w, httptest.NewRequest(http.MethodGet, "/", nil)); err != nil {
			t.Fatal(err)
		}
		if got := w.Header().Get("Content-Type"); got != "application/json" {
			t.Errorf("Content-Type %q", got)
		}
		var d Document
		if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := ask(); !slices.Equal(d.GrantTypes, []string{"authorization_code"}) {
		t.Errorf("grant types %v", d.GrantTypes)
	}
	registrytest.Fill(t, h.Registry, server("password"))
	if d := ask(); !slices.Equal(d.GrantTypes, []string{"password"}) {
		t.Errorf("after the change: grant types %v", d.GrantTypes)
	}
}

func TestTheJWKSMayBeCachedForAsLongAsAKeyWaits(t *testing.T) {
	h := handler(t)
	w := httptest.NewRecorder()
	if err := h.JWKS(w, httptest.NewRequest(http.MethodGet, "/", nil)); err != nil {
		t.Fatal(err)
	}
	if got := w.Header().Get("Cache-Control"); got != "public, max-age=300" {
		t.Errorf("Cache-Control %q", got)
	}
	if got := w.Header().Get("Content-Type"); got != "application/jwk-set+json" {
		t.Errorf("Content-Type %q", got)
	}
	if w.Body.String() != string(h.Keys.JWKS()) || !strings.Contains(w.Body.String(), `"kid":"es256-`) {
		t.Errorf("body %s", w.Body)
	}
}

func TestBeforeTheServerIsKnownThereIsNothingToCache(t *testing.T) {
	h := &Handler{Registry: registry.New(time.Now), Keys: keys.NewSet(rand.Reader), Now: time.Now}
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request) error{"discovery": h.Discovery, "JWKS": h.JWKS} {
		w := httptest.NewRecorder()
		err := answer(w, httptest.NewRequest(http.MethodGet, "/", nil))
		var refused *oauth.Error
		if !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable || w.Body.Len() != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheDocumentIsWhereTheSpecificationsPutIt(t *testing.T) {
	for issuer, want := range map[string][]string{
		"https://h":           {"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"},
		"http://127.0.0.1:80": {"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"},
		"https://h/t1/a": {
			"/t1/a/.well-known/openid-configuration", "/t1/a/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server/t1/a",
		},
	} {
		if got := DiscoveryPaths(IssuerPath(issuer)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", issuer, got, want)
		}
	}
}
