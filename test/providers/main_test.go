// Package providers tests the sign-in of users at OpenID providers: a second server of our own, and
// one that is not ours, the example of github.com/zitadel/oidc.
//
//	main_test.go     servers with all endpoints, and a browser that goes from one to another
//	own_test.go      our own server as the provider
//	other_test.go    the provider that is not ours
//	rule_test.go     what a rule that names no provider changes for its clients: nothing
//	browser_test.go  Chromium at our own (build tag browser)
//	directory_test.go  Chromium at the form of a directory (build tags browser and ldap)
package providers

import (
	"crypto/rand"
	"encoding/pem"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/tokenserver"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap/ldaptest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc/oidctest"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

const (
	clientID = "oauth-operator"
	secret   = "the secret of oauth-operator at the provider"
)

// server is a token server with all its endpoints, over TLS.
type server struct {
	*interactiontest.Server
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{interactiontest.New(t, interactiontest.TLS)}
	endpoints, err := (&tokenserver.Server{
		Registry: s.Registry, Keys: s.Keys, Store: s.Store, StoreID: s.Grants.StoreID, Now: s.Now, Random: rand.Reader,
		Used: func(registry.CredentialUse) {}, Log: slog.New(slog.NewJSONHandler(s.Log, nil)), Metrics: prometheus.NewRegistry(),
		Upstream: findCredential,
	}).Endpoints()
	if err != nil {
		t.Fatal(err)
	}
	s.HTTP.Config.Handler = endpoints
	return s
}

// findCredential is in the place of the files with credentials for providers.
func findCredential(name string) (string, bool) {
	for _, credential := range []string{secret, ldaptest.BindPassword} {
		if name == oidctest.HashOf(credential) {
			return credential, true
		}
	}
	return "", false
}

// certificate returns that of the server, in PEM.
func (s *server) certificate() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.HTTP.Certificate().Raw}))
}

// callback returns the address that is registered at the provider with a name.
func (s *server) callback(name string) string { return s.Issuer + "/callback/" + name }

// signInAt makes a provider the only way to sign in.
func (s *server) signInAt(p documents.IdentityProvider) {
	s.T.Helper()
	p.UID, p.Namespace, p.DisplayName, p.Type, p.Realm, p.MaxIdentities = "uid-of-"+p.Name, "identity", "Acme", documents.ProviderOIDC, p.OIDC.Issuer, 100
	p.SubjectAttribute, p.Credentials, p.OIDC.ClientID, p.OIDC.MaxAge = "sub", []string{oidctest.HashOf(secret)}, clientID, 3600
	s.Apply(p)
	s.ChangeDocument(func(d *documents.Server) {
		d.Fetch = &documents.Fetch{AllowedNetworks: []string{"127.0.0.0/8"}}
		d.AllowedClients[0].IdentityProviders = []string{p.Name}
	})
}

// visitor is a browser that follows redirects between the servers of this machine.
type visitor struct {
	*browser.Browser
	t testing.TB
}

func newVisitor(t testing.TB, transport http.RoundTripper) *visitor {
	return &visitor{browser.New(transport, "https://127.0.0.1:"), t}
}

func (v *visitor) get(address string) browser.Page {
	v.t.Helper()
	page, err := v.Get(v.t.Context(), address)
	if err != nil {
		v.t.Fatal(err)
	}
	return page
}

// fillIn sends the first form of a page with the fields.
func (v *visitor) fillIn(page browser.Page, fields ...string) browser.Page {
	v.t.Helper()
	action, form := page.Form(v.t)
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	target, err := page.At.Parse(action)
	if err != nil {
		v.t.Fatal(err)
	}
	request, err := browser.NewRequest(v.t.Context(), http.MethodPost, target.String(), form)
	if err != nil {
		v.t.Fatal(err)
	}
	page, err = v.Do(request)
	if err != nil {
		v.t.Fatal(err)
	}
	return page
}

// allow gives consent, and returns the ID token of the response.
func (v *visitor) allow(s *server, page browser.Page) map[string]any {
	v.t.Helper()
	if !page.IsConsent() || !strings.HasPrefix(page.URL, s.Issuer) {
		v.t.Fatalf("no consent page: at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	page, err := v.Submit(v.t.Context(), page, "consent-allow", nil)
	if err != nil {
		v.t.Fatal(err)
	}
	if page.Values().Get("id_token") == "" {
		v.t.Fatalf("no ID token: at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	return s.Claims(page.Values().Get("id_token"))
}
