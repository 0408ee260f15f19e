// Package interactiontest is a token server with its browser rooms, and browsers to visit it with, for the tests of these rooms. Everything
// is real: the handlers over HTTP, the registry, the keys, the store.
//
//	world.go      the server, its clients and users, its clock
//	browser.go    a browser: cookies, pages, forms
package interactiontest

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/authorize"
	"github.com/oauth-operator/oauth-operator/tokenserver/consent"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/login"
	"github.com/oauth-operator/oauth-operator/tokenserver/logout"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/memory"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Passwords of the users that every World has.
const (
	AlicePassword = "correct horse battery staple"
	BobPassword   = "another long password"
)

// World is a server and what it serves.
type World struct {
	T         testing.TB
	Issuer    string
	HTTP      *httptest.Server
	Server    documents.Server
	Registry  *registry.Registry
	Keys      *keys.Set
	Store     *memory.Store
	Grants    *grant.Service
	Flows     *interaction.Flows
	Sessions  *session.Sessions
	Metrics   *prometheus.Registry
	Passwords *password.Verifier
	Throttle  *throttle.Throttle
	Random    io.Reader

	mu  sync.Mutex
	now time.Time
	log bytes.Buffer
}

// Option changes how a World is made.
type Option func(*options)

type options struct {
	tls    bool
	path   string
	faulty *storagetest.Faulty
}

// TLS makes the issuer an https one.
func TLS(o *options) { o.tls = true }

// Path puts the issuer below a path.
func Path(path string) Option { return func(o *options) { o.path = path } }

// Store puts a store that fails on request in front of the one in memory.
func Store(faulty *storagetest.Faulty) Option { return func(o *options) { o.faulty = faulty } }

// New starts a server with the users alice and bob, and the clients of Clients.
func New(t testing.TB, random io.Reader, opts ...Option) *World {
	t.Helper()
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	w := &World{T: t, Random: random, Registry: registry.New(), now: time.Unix(1_800_000_000, 0), Metrics: prometheus.NewRegistry()}
	var err error
	if w.Store, err = memory.New(w.Now, random); err != nil {
		t.Fatal(err)
	}
	var store storage.Store = w.Store
	if o.faulty != nil {
		o.faulty.Store = w.Store
		store = o.faulty
	}
	w.HTTP = httptest.NewUnstartedServer(nil)
	scheme := "http://"
	if o.tls {
		scheme = "https://"
	}
	w.Issuer = scheme + w.HTTP.Listener.Addr().String() + o.path
	w.Server = server(w.Issuer)
	w.Keys, w.Server.Keys = newKeys(t, random)
	w.Keys.Use(w.Server)
	registrytest.Fill(t, w.Registry, w.Server,
		documents.Namespace{Name: "demo"}, documents.Namespace{Name: "apps"},
		user(t, random, "alice", AlicePassword, map[string]any{"name": "Alice Liddell", "email": "alice@example.com"}),
		user(t, random, "bob", BobPassword, nil))
	registrytest.Fill(t, w.Registry, Clients()...)
	w.Registry.SetSynced()
	w.assemble(store, o.path)
	if o.tls {
		w.HTTP.StartTLS()
	} else {
		w.HTTP.Start()
	}
	t.Cleanup(w.HTTP.Close)
	return w
}

// assemble the rooms and their routes.
func (w *World) assemble(store storage.Store, path string) {
	metrics, err := web.NewMetrics(w.Metrics)
	if err != nil {
		w.T.Fatal(err)
	}
	edge := &web.Edge{
		Log: slog.New(slog.NewJSONHandler(w, nil)), Metrics: metrics, Now: w.Now, Random: w.Random, Issuer: func() string { return w.Issuer },
	}
	w.Grants = &grant.Service{
		Store: store, Keys: w.Keys, Registry: w.Registry, Now: w.Now, Random: w.Random, Epoch: w.Store.Epoch(), Log: edge.Log,
	}
	w.Flows = &interaction.Flows{Keys: w.Keys, Registry: w.Registry, Now: w.Now, Random: w.Random}
	w.Sessions = &session.Sessions{Keys: w.Keys, Registry: w.Registry, Grants: w.Grants, Now: w.Now, Random: w.Random}
	w.Passwords = password.NewVerifier(password.Limits{CPUs: 2, Memory: password.MaxMemory - 1}, time.Now)
	if w.Throttle, err = throttle.New(w.Now, w.Random, w.Metrics); err != nil {
		w.T.Fatal(err)
	}
	consents := &interaction.Consents{Store: store, Now: w.Now}
	authorizeRoom := &authorize.Handler{
		Registry: w.Registry, Keys: w.Keys, Flows: w.Flows, Sessions: w.Sessions, Consents: consents, Grants: w.Grants,
		Minter: &mint.Minter{Keys: w.Keys, Registry: w.Registry, Now: w.Now}, Now: w.Now,
	}
	loginRoom := &login.Handler{
		Registry: w.Registry, Flows: w.Flows, Sessions: w.Sessions, Passwords: w.Passwords, Throttle: w.Throttle,
		Devices: &throttle.Devices{Keys: w.Keys, Now: w.Now, Random: w.Random},
	}
	consentRoom := &consent.Handler{Registry: w.Registry, Flows: w.Flows, Sessions: w.Sessions, Consents: consents}
	logoutRoom := &logout.Handler{Registry: w.Registry, Keys: w.Keys, Flows: w.Flows, Sessions: w.Sessions, Now: w.Now}
	mux := http.NewServeMux()
	for route, handle := range map[string]web.Handler{
		interaction.PathAuthorize: authorizeRoom.Handle, interaction.PathLogin: loginRoom.Handle, interaction.PathConsent: consentRoom.Handle,
		interaction.PathLogout: logoutRoom.Handle,
	} {
		mux.Handle(path+route, edge.ForBrowser(route[1:], handle, http.MethodGet, http.MethodPost))
	}
	w.HTTP.Config.Handler = mux
}

// Now is the time on the server's clock. It stands still.
func (w *World) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Advance the server's clock.
func (w *World) Advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// Write takes the server's log.
func (w *World) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

// Log of the server so far.
func (w *World) Log() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// Apply puts documents in force in place of those before.
func (w *World) Apply(documents ...any) {
	w.T.Helper()
	registrytest.Fill(w.T, w.Registry, documents...)
}

// User as the server knows them now.
func (w *World) User(name string) documents.User {
	w.T.Helper()
	found, ok := w.Registry.UserByName(name)
	if !ok {
		w.T.Fatalf("no user %s", name)
	}
	return found.User
}

// Client as the server knows it now.
func (w *World) Client(id string) documents.Client {
	w.T.Helper()
	found, ok := w.Registry.Client(id)
	if !ok {
		w.T.Fatalf("no client %s", id)
	}
	return found.Client
}

func server(issuer string) documents.Server {
	all := documents.Namespaces{All: true}
	return documents.Server{
		UID: "uid-server", Namespace: "demo", Name: "main", Issuer: issuer,
		AllowedClients: []documents.ClientRule{{
			Name: "all", Namespaces: all, ClientIDs: []string{documents.Any}, Scopes: []string{documents.Any},
			GrantTypes: []string{
				oauth.GrantAuthorizationCode, oauth.GrantImplicit, oauth.GrantPassword, oauth.GrantClientCredentials, oauth.GrantRefreshToken,
			},
			RedirectHosts: []string{documents.Any}, RedirectSchemes: []string{"com.example.app"},
			Consent: []string{documents.ConsentRequired, documents.ConsentSkip},
		}},
		AllowedResourceServers: []documents.ResourceServerRule{{
			Name: "all", Namespaces: all, Identifiers: []string{documents.Any}, Scopes: []string{documents.Any},
		}},
		AccessTokenLifetime: 300, AuthorizationCodeLifetime: 60,
		RefreshToken:        documents.RefreshToken{IdleLifetime: 3600, AbsoluteLifetime: 36000, ReuseGracePeriod: 60},
		SessionIdleLifetime: 8 * 3600, SessionAbsoluteLifetime: 24 * 3600,
		Algorithms: []string{"ES256", "RS256"},
	}
}

// Redirect URIs of the clients.
const (
	WebRedirect     = "https://shop.example.com/callback"
	WebSignedOut    = "https://shop.example.com/signed-out?from=here"
	SPARedirect     = "https://spa.example.com/callback"
	HybridRedirect  = "https://hybrid.example.com/callback"
	LoopbackURI     = "http://127.0.0.1/callback"
	PrivateURI      = "com.example.app:/callback"
	OrdersAPI       = "https://orders.example.com"
	ScopeReadOrders = "orders:read"
)

// Clients that every World has: web and trusted are confidential, spa and cli public, legacy has the implicit grant, hybrid that and codes.
// trusted skips consent.
func Clients() []any {
	code, refresh := oauth.GrantAuthorizationCode, oauth.GrantRefreshToken
	identity := []string{oauth.ScopeOpenID, oauth.ScopeProfile, oauth.ScopeEmail, oauth.ScopeOfflineAccess, ScopeReadOrders}
	client := func(id, name, method string, uris []string, grants ...string) documents.Client {
		return documents.Client{
			UID: "uid-" + id, Namespace: "apps", Name: id, ID: id, DisplayName: name, GrantTypes: grants, AuthMethod: method,
			RedirectURIs: uris, Scopes: identity, PKCE: documents.PKCERequired, Consent: documents.ConsentRequired, IDTokenAlg: "RS256",
		}
	}
	web := client("web", "Shop", oauth.AuthMethodSecretBasic, []string{WebRedirect}, code, refresh)
	web.PKCE, web.PostLogoutRedirectURIs = documents.PKCEWhenSent, []string{WebSignedOut, "com.example.app:/signed-out"}
	trusted := client("trusted", "Intranet", oauth.AuthMethodSecretBasic, []string{"https://intranet.example.com/callback"}, code, refresh)
	trusted.Consent, trusted.PKCE = documents.ConsentSkip, documents.PKCEWhenSent
	return []any{
		documents.ResourceServer{
			UID: "uid-orders", Namespace: "apps", Name: "orders", Identifier: OrdersAPI,
			Scopes: []documents.Scope{{Name: ScopeReadOrders, Description: "See your orders"}},
			AllowedClients: []documents.ResourceClientRule{{
				Name: "all", Namespaces: documents.Namespaces{All: true}, Scopes: []string{documents.Any},
			}},
		},
		web, trusted,
		client("strict", "Strict", oauth.AuthMethodSecretBasic, []string{"https://strict.example.com/callback"}, code),
		client("spa", "Single page", oauth.AuthMethodNone, []string{SPARedirect}, code, refresh),
		client("cli", "Command line", oauth.AuthMethodNone, []string{LoopbackURI, PrivateURI, "http://[::1]:8000/callback"}, code, refresh),
		client("hybrid", "Hybrid", oauth.AuthMethodNone, []string{HybridRedirect}, code, oauth.GrantImplicit, refresh),
		client("legacy", "Legacy", oauth.AuthMethodNone, []string{"https://legacy.example.com/callback"}, oauth.GrantImplicit),
	}
}

func user(t testing.TB, random io.Reader, name, secret string, claims map[string]any) documents.User {
	t.Helper()
	hash, err := password.Hash(secret, random)
	if err != nil {
		t.Fatal(err)
	}
	return documents.User{
		UID: "uid-" + name, Subject: "subject-" + name, Username: name, PasswordHash: hash, Epoch: "epoch-" + name, Claims: claims,
	}
}

// material of the keys is made once: an RSA key takes its time.
var material struct {
	sync.Once
	err   error
	files map[string][]byte
	keys  []documents.Key
}

func newKeys(t testing.TB, random io.Reader) (*keys.Set, []documents.Key) {
	t.Helper()
	material.Do(func() { material.files, material.keys, material.err = generate(random) })
	if material.err != nil {
		t.Fatal(material.err)
	}
	dir := t.TempDir()
	for name, content := range material.files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set := keys.NewSet(random)
	if err := set.LoadDir(dir); err != nil {
		t.Fatal(err)
	}
	return set, material.keys
}

func generate(random io.Reader) (map[string][]byte, []documents.Key, error) {
	files, all := map[string][]byte{}, []documents.Key{}
	for _, algorithm := range []string{"ES256", "RS256"} {
		kid, content, err := keys.GenerateSigning(algorithm, random)
		if err != nil {
			return nil, nil, err
		}
		files[kid+".pem"] = content
		all = append(all, documents.Key{KID: kid, Algorithm: algorithm, Phase: documents.KeyActive})
	}
	kid, content, err := keys.GenerateSealing(random)
	if err != nil {
		return nil, nil, err
	}
	files[kid+".sealing"] = content
	return files, append(all, documents.Key{KID: kid, Algorithm: documents.AlgorithmSealing, Phase: documents.KeyActive}), nil
}
