package tokenserver

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver"
	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver/httpservertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc/oidctest"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
)

// newSilentServer returns the address of a server that accepts connections and says nothing.
func newSilentServer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	return listener.Addr().String()
}

var loopback = &documents.Fetch{AllowedNetworks: []string{"127.0.0.0/8"}, JWKSHosts: []string{"127.0.0.1"}}

// askForKeys returns requests of a client whose keys are at a silent server.
func askForKeys(t *testing.T, n int) (http.Handler, []string) {
	endpoints := newTestRouter(t)
	server, _ := endpoints.registry.Server()
	server.Fetch = loopback
	registrytest.Fill(t, endpoints.registry, server, documents.Client{
		UID: "signer-uid", Namespace: "apps", Name: "signer", ID: "apps.signer", GrantTypes: []string{oauth.GrantPassword},
		AuthMethod: oauth.AuthMethodPrivateKey, JWKSURI: "https://" + newSilentServer(t) + "/jwks", PKCE: "Required", Consent: "Required", IDTokenAlg: "RS256",
	})
	signer := jwkstest.NewSigner("ES256", "any")
	var requests []string
	for i := range n {
		assertion := signer.Sign(t, map[string]any{
			"iss": "apps.signer", "sub": "apps.signer", "aud": server.Issuer, "jti": strconv.Itoa(i), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
		})
		form := url.Values{"grant_type": {"password"}, "client_assertion_type": {oauth.AssertionTypeJWT}, "client_assertion": {assertion}}
		requests = append(requests, dump(t, httptest.NewRequest(http.MethodPost, "http://x/token", strings.NewReader(form.Encode()))))
	}
	return endpoints, requests
}

// dump returns a request as text.
func dump(t *testing.T, r *http.Request) string {
	t.Helper()
	if r.Method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	text, err := httputil.DumpRequestOut(r, true)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// newPages returns a server at which users sign in at a provider, or with a password of its own.
func newPages(t *testing.T, provider documents.IdentityProvider) *interactiontest.Server {
	w := interactiontest.New(t)
	w.ChangeDocument(func(s *documents.Server) { s.Fetch = loopback })
	provider.AllClients = true
	w.Apply(provider)
	return w
}

// choose returns the request of a browser that chooses a way to sign in.
func choose(t *testing.T, w *interactiontest.Server, b *interactiontest.Browser, way string) *http.Request {
	t.Helper()
	chooser := b.Get(w.WebRequest())
	link := chooser.Find("a", "id", "way-"+way)
	if link == nil {
		t.Fatalf("there is no way %s: %d %s", way, chooser.StatusCode, chooser.Body)
	}
	for _, a := range link.Attr {
		if a.Key == "href" {
			return withCookies(t, b, http.MethodGet, a.Val, "")
		}
	}
	t.Fatal("the link leads nowhere")
	return nil
}

func withCookies(t *testing.T, b *interactiontest.Browser, method, address, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range b.Jar.Cookies(r.URL) {
		r.AddCookie(cookie)
	}
	return r
}

// askForDiscovery returns requests to sign in at a provider that says nothing.
func askForDiscovery(t *testing.T, n int) (http.Handler, []string) {
	provider := oidctest.New(t, time.Now).Document("acme")
	provider.OIDC.Issuer = "https://" + newSilentServer(t)
	w := newPages(t, provider)
	var requests []string
	for range n {
		requests = append(requests, dump(t, choose(t, w, w.NewBrowser(), "acme")))
	}
	return w.HTTP.Config.Handler, requests
}

// askForTokens returns requests that come back from a provider whose token endpoint says nothing.
func askForTokens(t *testing.T, n int) (http.Handler, []string) {
	upstream := oidctest.New(t, time.Now)
	silent := newSilentServer(t)
	upstream.Behave(oidctest.Behaviour{Discovery: func(d map[string]any) { d["token_endpoint"] = "https://" + silent + "/token" }})
	w := newPages(t, upstream.Document("acme"))
	var requests []string
	for range n {
		b := w.NewBrowser()
		away := b.Get(choose(t, w, b, "acme").URL.String())
		back := away.At.Query().Get("redirect_uri") + "?" + upstream.Visit(away.At.String()).Encode()
		requests = append(requests, dump(t, withCookies(t, b, http.MethodGet, back, "")))
	}
	return w.HTTP.Config.Handler, requests
}

// askDirectory returns forms of users of a directory that says nothing.
func askDirectory(t *testing.T, n int) (http.Handler, []string) {
	w := newPages(t, documents.IdentityProvider{
		UID: "uid-of-acme", Namespace: "identity", Name: "acme", DisplayName: "ACME", Type: documents.ProviderLDAP, Realm: "acme", SubjectAttribute: "entryUUID",
		Credentials: []string{"acme.1"}, MaxIdentities: 100, Allow: "true", LDAP: &documents.LDAPProvider{
			URL: "ldap://" + newSilentServer(t), BindDN: "cn=reader,dc=acme", Users: documents.LDAPUsers{BaseDN: "dc=acme", Filter: "(uid=$(username))"},
			ThrottleFailures: 4, ThrottleWindow: 1800,
		},
	})
	var requests []string
	for i := range n {
		b := w.NewBrowser()
		action, fields := b.Get(choose(t, w, b, "acme").URL.String()).Form(t)
		fields.Set("username", "user-"+strconv.Itoa(i))
		fields.Set("password", "any")
		requests = append(requests, dump(t, withCookies(t, b, http.MethodPost, action, fields.Encode())))
	}
	return w.HTTP.Config.Handler, requests
}

func TestRequestsThatWaitForAnotherServerYieldToNewOnes(t *testing.T) {
	const connections = 8
	for what, newRequests := range map[string]func(*testing.T, int) (http.Handler, []string){
		"the keys of a client": askForKeys, "the discovery document of a provider": askForDiscovery,
		"the tokens of a provider": askForTokens, "a directory": askDirectory,
	} {
		endpoints, requests := newRequests(t, connections)
		var began, ended atomic.Int64
		h := httpservertest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("client_id") != "unknown" {
				began.Add(1)
				defer ended.Add(1)
			}
			endpoints.ServeHTTP(w, r)
		}), func(c *httpserver.Config) { c.Limits.Connections = connections })
		for _, request := range requests {
			httpservertest.Send(h.Dial(), request)
		}
		h.Eventually("all requests wait for "+what+" at once", func() bool {
			return began.Load() == connections && h.Stats().Waiting == connections && ended.Load() == 0
		})
		for range 3 * connections {
			const other = "GET /authorize?client_id=unknown HTTP/1.1\r\nHost: x\r\n\r\n"
			if status, body := httpservertest.ReadResponse(httpservertest.Send(h.Dial(), other)); status != http.StatusBadRequest {
				t.Errorf("while requests wait for %s, another client is answered %d %.200s", what, status, body)
			}
		}
		h.Eventually("the requests have ended", func() bool { return ended.Load() == connections })
	}
}
