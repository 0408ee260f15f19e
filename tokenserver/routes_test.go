package tokenserver

import (
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/metadata"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/memory"
)

// Every endpoint is in the discovery document, but for the pages that people are led to and the
// document itself; and what it names is there.
func TestTheRoutesAreThoseOfTheDiscoveryDocument(t *testing.T) {
	for _, issuer := range []string{"https://auth.example.com", "https://auth.example.com/t1"} {
		encoded, err := json.Marshal(metadata.Describe(documents.Server{
			Issuer: issuer, AllowedClients: []documents.ClientRule{{GrantTypes: []string{"authorization_code"}}},
		}, nil, time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		var document map[string]any
		if err := json.Unmarshal(encoded, &document); err != nil {
			t.Fatal(err)
		}
		var named []string
		for member, value := range document {
			if strings.HasSuffix(member, "_endpoint") || member == "jwks_uri" {
				named = append(named, value.(string))
			}
		}
		base := metadata.IssuerPath(issuer)
		var routed, located []string
		for _, row := range (&router{}).routes(issuer) {
			switch {
			case row.name == "discovery":
				located = append(located, row.path)
			case row.name == "issuer": // for people
			case row.path != base+interaction.PathLogin && row.path != base+interaction.PathConsent:
				routed = append(routed, "https://auth.example.com"+row.path)
			}
		}
		if !slices.Equal(located, metadata.DiscoveryPaths(base)) {
			t.Errorf("%s: the document is routed at %q, want %q", issuer, located, metadata.DiscoveryPaths(base))
		}
		slices.Sort(named)
		slices.Sort(routed)
		if !slices.Equal(named, routed) {
			t.Errorf("%s: the document names %q, the routes are %q", issuer, named, routed)
		}
	}
}

// newKeyedRouter returns the endpoints of an issuer that has one key.
func newKeyedRouter(t *testing.T, issuer string) *router {
	t.Helper()
	store, err := memory.New(time.Now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	kid, content, err := keys.GenerateSigning("ES256", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, kid+".pem"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	server := &Server{
		Registry: registry.New(time.Now), Keys: keys.NewSet(rand.Reader), Store: store, Now: time.Now, Random: rand.Reader,
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	}
	if err := server.Keys.LoadDir(dir); err != nil {
		t.Fatal(err)
	}
	document := documents.Server{
		UID: "server-uid", Issuer: issuer, Algorithms: []string{"ES256"},
		Keys: []documents.Key{{KID: kid, Algorithm: "ES256", Phase: documents.KeyActive}},
	}
	registrytest.Fill(t, server.Registry, document)
	server.Keys.SetDocument(document)
	r, err := server.newRouter()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// requestFromScript returns the response to a script of another origin.
func requestFromScript(h http.Handler, method, path string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, nil)
	request.Header.Set("Origin", "https://spa.example.com")
	if method == http.MethodOptions {
		request.Header.Set("Access-Control-Request-Method", http.MethodPost)
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, request)
	return answer
}

// Clients look for the document where OpenID Connect Discovery section 4 puts it, or where RFC 8414
// section 3.1 does.
func TestTheDocumentsAreServedWhereClientsLookAndMayBeCachedForAsLongAsAKeyWaits(t *testing.T) {
	for issuer, locations := range map[string][]string{
		"https://auth.example.com": {"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"},
		"https://auth.example.com/t1": {
			"/t1/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/t1", "/t1/.well-known/oauth-authorization-server",
		},
	} {
		r := newKeyedRouter(t, issuer)
		for _, path := range locations {
			answer := requestFromScript(r, http.MethodGet, path)
			var document metadata.Document
			if err := json.Unmarshal(answer.Body.Bytes(), &document); err != nil || answer.Code != http.StatusOK || document.Issuer != issuer {
				t.Errorf("%s: %s answers %d %s (%v)", issuer, path, answer.Code, answer.Body, err)
			}
		}
		// Every answer is no-store unless its endpoint says otherwise.
		for _, path := range append(locations, strings.TrimPrefix(issuer, "https://auth.example.com")+"/jwks") {
			answer := requestFromScript(r, http.MethodGet, path)
			if got := answer.Header().Values("Cache-Control"); answer.Code != http.StatusOK || !slices.Equal(got, []string{"public, max-age=300"}) {
				t.Errorf("%s: %s answers %d with Cache-Control %q", issuer, path, answer.Code, got)
			}
		}
	}
}

func TestTheIssuersAddressIsAPageThatLinksToTheMetadata(t *testing.T) {
	for issuer, paths := range map[string][]string{
		"https://auth.example.com": {"/"}, "https://auth.example.com/t1": {"/t1", "/t1/"},
	} {
		r := newKeyedRouter(t, issuer)
		for _, path := range paths {
			answer := requestFromScript(r, http.MethodGet, path)
			body := answer.Body.String()
			if answer.Code != http.StatusOK || !strings.HasPrefix(answer.Header().Get("Content-Type"), "text/html") ||
				!strings.Contains(body, "auth.example.com</bdi></h1>") || !strings.Contains(body, `href="`+issuer+`/.well-known/openid-configuration"`) {
				t.Errorf("%s: %s answers %d %s", issuer, path, answer.Code, body)
			}
			if answer := requestFromScript(r, http.MethodPost, path); answer.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s: POST %s answers %d", issuer, path, answer.Code)
			}
		}
	}
	for _, path := range []string{"/", "/t2", "/t1/x"} {
		if answer := requestFromScript(newKeyedRouter(t, "https://auth.example.com/t1"), http.MethodGet, path); answer.Code != http.StatusNotFound {
			t.Errorf("%s, which is not the issuer's, answers %d", path, answer.Code)
		}
	}
}

// An endpoint that lives by a cookie, or answers APIs alone, is none for scripts of other origins
// (RFC 9700 section 2.6).
func TestScriptsOfOtherOriginsMayCallFiveEndpointsAndNoOther(t *testing.T) {
	for _, issuer := range []string{"https://auth.example.com", "https://auth.example.com/t1"} {
		r := newKeyedRouter(t, issuer)
		named := map[string]bool{}
		for _, row := range r.routes(issuer) {
			named[row.name] = true
			open := slices.Contains([]string{"discovery", "jwks", "token", "userinfo", "revoke"}, row.name)
			for _, method := range append(row.methods, http.MethodOptions) {
				answer := requestFromScript(r, method, row.path)
				allowed := answer.Header().Values("Access-Control-Allow-Origin")
				if open && !slices.Equal(allowed, []string{"*"}) || !open && len(allowed) > 0 {
					t.Errorf("%s %s is open to %q", method, row.path, allowed)
				}
				for name := range answer.Header() {
					if name == "Access-Control-Allow-Credentials" || !open && strings.HasPrefix(name, "Access-Control-") {
						t.Errorf("%s %s has the header %s", method, row.path, name)
					}
				}
			}
		}
		for _, name := range []string{
			"authorize", "login", "consent", "logout", "token", "introspect", "revoke", "userinfo", "jwks", "discovery", "issuer",
		} {
			if !named[name] {
				t.Errorf("%s: there is no endpoint %s", issuer, name)
			}
		}
	}
}

func TestEachEndpointRefusesTheMethodsThatItsRouteDoesNotAllow(t *testing.T) {
	const issuer = "https://auth.example.com"
	r := newKeyedRouter(t, issuer)
	for _, row := range r.routes(issuer) {
		for _, method := range []string{
			http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodTrace, "MADEUP",
		} {
			answer := httptest.NewRecorder()
			r.ServeHTTP(answer, httptest.NewRequest(method, row.path, nil))
			isAllowed := slices.Contains(row.methods, method) || method == http.MethodHead && slices.Contains(row.methods, http.MethodGet)
			if refused := answer.Code == http.StatusMethodNotAllowed; refused == isAllowed {
				t.Errorf("%s %s is answered %d", method, row.path, answer.Code)
			}
			if allow := answer.Header().Get("Allow"); !isAllowed && allow != strings.Join(row.methods, ", ") {
				t.Errorf("%s %s: Allow is %q, want %q", method, row.path, allow, row.methods)
			}
		}
	}
	for path, allow := range map[string]string{
		oauth.PathToken: "POST", oauth.PathIntrospect: "POST", oauth.PathRevoke: "POST", oauth.PathUserInfo: "GET, POST", oauth.PathJWKS: "GET",
	} {
		answer := httptest.NewRecorder()
		r.ServeHTTP(answer, httptest.NewRequest(http.MethodDelete, path, nil))
		if answer.Code != http.StatusMethodNotAllowed || answer.Header().Get("Allow") != allow {
			t.Errorf("DELETE %s is answered %d, Allow %q; want 405 and %s", path, answer.Code, answer.Header().Get("Allow"), allow)
		}
	}
}

func TestEachIdentityProviderHasACallbackOfItsOwnAndNoOtherPathIsOne(t *testing.T) {
	for _, issuer := range []string{"https://auth.example.com", "https://auth.example.com/t1"} {
		base := strings.TrimPrefix(issuer, "https://auth.example.com")
		r := newKeyedRouter(t, issuer)
		for path, want := range map[string]int{
			base + "/callback/acme":                http.StatusBadRequest, // a page: there is no such departure
			base + "/callback/":                    http.StatusNotFound,
			base + "/callback":                     http.StatusNotFound,
			base + "/callback/acme/":               http.StatusNotFound,
			base + "/callback/a/b":                 http.StatusNotFound,
			"/elsewhere" + base + "/callback/acme": http.StatusNotFound,
		} {
			if answer := requestFromScript(r, http.MethodGet, path); answer.Code != want {
				t.Errorf("%s: %s answers %d, want %d", issuer, path, answer.Code, want)
			}
		}
		if answer := requestFromScript(r, http.MethodPost, base+"/callback/acme"); answer.Code != http.StatusMethodNotAllowed || answer.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: POST answers %d", issuer, answer.Code)
		}
	}
}
