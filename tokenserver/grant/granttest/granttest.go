// Package granttest is a token server without a cluster, for the tests of the endpoint rooms: real registry, keys, store and rooms, fed with
// documents, under a clock that stands until it is moved.
//
//	granttest.go  the World: its parts and its documents
//	requests.go   requests to the endpoints of a World, and what comes back
//	impostors.go  values that look like access tokens and are none
//	watched.go    a store with copies beside it, which lag on request
package granttest

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/clientauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/memory"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// What every World begins with.
const (
	Issuer   = "https://auth.example.com"
	Secret   = "oas_0123456789abcdefghijklmnopqrstuvwxyzABCDEF0"
	Username = "alice"
	Password = "correct horse battery staple"
	Subject  = "248289761001"
	Orders   = "https://orders.example.com"
	Stock    = "https://stock.example.com"
	Callback = "https://shop.example.com/callback"
	// Challenge is the S256 challenge of Verifier (RFC 7636 appendix B).
	Verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	Challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// Clock stands still until it is moved. Safe for use by many.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Move the clock on.
func (c *Clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Log keeps what was logged.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// World is one token server.
type World struct {
	t testing.TB

	Clock     *Clock
	Log       *Log
	Metrics   *prometheus.Registry
	Registry  *registry.Registry
	Keys      *keys.Set
	Memory    *memory.Store
	Store     *storagetest.Faulty // in front of Memory
	Grants    *grant.Service
	Minter    *mint.Minter
	Clients   *clientauth.Authenticator
	Passwords *password.Verifier
	Throttle  *throttle.Throttle
	Edge      *web.Edge

	// Server is the server's document as served; change it with ChangeServer.
	Server documents.Server
	// Used are the credentials that clients used: "<client UID>/<credential id>".
	Used []string
	// Misused are the right credentials that came by a wrong method.
	Misused []registry.Use
	mu      sync.Mutex

	routes  map[string]web.Handler
	secrets []string
}

// New makes a World with the issuer, the user alice, the resource servers Orders and Stock, and no client.
func New(t testing.TB) *World {
	t.Helper()
	w := &World{t: t, Clock: &Clock{now: time.Now().Truncate(time.Second)}, Log: &Log{}, Metrics: prometheus.NewRegistry(), routes: map[string]web.Handler{}}
	w.Registry = registry.New()
	material := keysOnce()
	w.Keys = keys.NewSet(rand.Reader)
	dir := t.TempDir()
	for name, content := range material.files {
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	must(t, w.Keys.LoadDir(dir))
	w.Server = server(material.keys)
	w.putServer()
	w.AddUser(User())
	w.AddResourceServer(ResourceServer(Orders, "orders:read", "orders:write"))
	w.AddResourceServer(ResourceServer(Stock, "stock:read"))
	w.Registry.SetSynced()
	w.rooms()
	t.Cleanup(w.noSecretsInLog)
	w.secrets = append(w.secrets, Secret, Password)
	return w
}

// rooms puts the parts together as a program does.
func (w *World) rooms() {
	log := slog.New(slog.NewJSONHandler(w.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	w.Memory, err = memory.New(w.Clock.Now, rand.Reader)
	must(w.t, err)
	w.Store = &storagetest.Faulty{Store: w.Memory}
	grantMetrics, err := grant.NewMetrics(w.Metrics)
	must(w.t, err)
	w.Grants = &grant.Service{
		Store: w.Store, Keys: w.Keys, Registry: w.Registry, Now: w.Clock.Now, Random: rand.Reader, Epoch: w.Memory.Epoch(), Log: log,
		Metrics: grantMetrics,
	}
	w.Store.OnEnd(w.Grants.Ended)
	w.Minter = &mint.Minter{Keys: w.Keys, Registry: w.Registry, Now: w.Clock.Now}
	w.Clients = &clientauth.Authenticator{Registry: w.Registry, Now: w.Clock.Now, Used: w.used}
	w.Passwords = password.NewVerifier(password.Limits{CPUs: 4, Memory: password.MaxMemory - 1}, time.Now)
	w.Throttle, err = throttle.New(w.Clock.Now, rand.Reader, w.Metrics)
	must(w.t, err)
	webMetrics, err := web.NewMetrics(w.Metrics)
	must(w.t, err)
	w.Edge = &web.Edge{Log: log, Metrics: webMetrics, Now: w.Clock.Now, Random: rand.Reader}
}

// Restart forgets what the process kept in memory, as the program does when it starts again.
func (w *World) Restart() {
	var err error
	w.Memory, err = memory.New(w.Clock.Now, rand.Reader)
	must(w.t, err)
	w.Store.Store, w.Grants.Epoch = w.Memory, w.Memory.Epoch()
}

func (w *World) used(use registry.Use) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if use.RefusedMethod != "" {
		w.Misused = append(w.Misused, use)
		return
	}
	w.Used = append(w.Used, use.ClientUID+"/"+use.CredentialID)
}

func server(keys []documents.Key) documents.Server {
	all := documents.Namespaces{All: true}
	each := []string{documents.Any}
	return documents.Server{
		UID: "server-uid", Namespace: "identity", Name: "main", Issuer: Issuer,
		AllowedClients: []documents.ClientRule{{
			Name: "all", Namespaces: all, ClientIDs: each, Scopes: each, RedirectHosts: each, RedirectSchemes: []string{"com.shop.app"},
			GrantTypes: []string{
				oauth.GrantAuthorizationCode, oauth.GrantImplicit, oauth.GrantPassword, oauth.GrantClientCredentials, oauth.GrantRefreshToken,
			},
			Consent: []string{documents.ConsentRequired, documents.ConsentSkip},
		}},
		AllowedResourceServers:    []documents.ResourceServerRule{{Name: "all", Namespaces: all, Identifiers: each, Scopes: each}},
		AccessTokenLifetime:       300,
		AuthorizationCodeLifetime: 60,
		RefreshToken:              documents.RefreshToken{IdleLifetime: 720 * 3600, AbsoluteLifetime: 2160 * 3600, ReuseGracePeriod: 60},
		SessionIdleLifetime:       8 * 3600, SessionAbsoluteLifetime: 24 * 3600,
		Algorithms: []string{"ES256", "RS256"}, Keys: keys,
	}
}

// ChangeServer changes the server's document and serves it, as one entry does.
func (w *World) ChangeServer(change func(*documents.Server)) {
	w.t.Helper()
	// What is served already must not change under its readers.
	document, err := documents.Encode(w.Server)
	must(w.t, err)
	w.Server, err = documents.Decode[documents.Server](documents.FormatServer, document)
	must(w.t, err)
	change(&w.Server)
	w.putServer()
}

func (w *World) putServer() {
	w.Keys.Use(w.Server)
	w.apply("server", registry.SpaceIdentity, w.Server.Issuer, w.Server.UID, documents.FormatServer, w.Server)
}

// Client is a confidential client of the code flow with the secret Secret. Change what a test is about.
func Client(id string) documents.Client {
	return documents.Client{
		UID: id + "-uid", Namespace: "shop", Name: id, ID: id,
		GrantTypes: []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}, AuthMethod: oauth.AuthMethodSecretBasic,
		RedirectURIs: []string{Callback}, Scopes: []string{"openid", "profile", "email", "offline_access", "orders:read", "orders:write", "stock:read"},
		PKCE: documents.PKCERequired, Consent: documents.ConsentRequired, IDTokenAlg: "RS256",
		Credentials: []documents.Credential{Credential("c1", Secret)},
	}
}

// Credential of a secret.
func Credential(id, secret string) documents.Credential {
	sum := sha256.Sum256([]byte(secret))
	return documents.Credential{ID: id, SHA256: hex.EncodeToString(sum[:]), State: documents.CredentialActive}
}

// Public makes a client a public one.
func Public(c documents.Client) documents.Client {
	c.AuthMethod, c.Credentials = oauth.AuthMethodNone, nil
	return c
}

// AddClient serves a client, also in place of what was served for it.
func (w *World) AddClient(c documents.Client) documents.Client {
	w.apply("client-"+c.ID, registry.SpaceIdentity, c.ID, c.UID, documents.FormatClient, c)
	return c
}

// RemoveClient stops serving a client.
func (w *World) RemoveClient(id string) { w.Registry.Remove("client-" + id) }

// User is alice.
func User() documents.User {
	return documents.User{
		UID: "alice-uid", Subject: Subject, Username: Username, PasswordHash: keysOnce().passwordHash, Epoch: "epoch-1",
		Claims: map[string]any{"name": "Alice", "email": "alice@example.com", "email_verified": true, "groups": []any{"admins"}, "department": "sales"},
	}
}

// AddUser serves a user, also in place of what was served for it.
func (w *World) AddUser(u documents.User) {
	w.apply("username-"+u.Username, registry.SpaceUsername, u.Username, u.UID, "", nil)
	w.apply("user-"+u.Subject, registry.SpaceIdentity, u.Subject, u.UID, documents.FormatUser, u)
}

// RemoveUser stops serving a user.
func (w *World) RemoveUser(u documents.User) {
	w.Registry.Remove("username-" + u.Username)
	w.Registry.Remove("user-" + u.Subject)
}

// ResourceServer with scopes, which allows every client and lists none for introspection.
func ResourceServer(identifier string, scopes ...string) documents.ResourceServer {
	rs := documents.ResourceServer{
		UID: identifier + "-uid", Namespace: "apis", Name: "api", Identifier: identifier,
		AllowedClients: []documents.ResourceClientRule{{
			Name: "all", Namespaces: documents.Namespaces{All: true}, Scopes: []string{documents.Any},
		}},
	}
	for _, scope := range scopes {
		rs.Scopes = append(rs.Scopes, documents.Scope{Name: scope})
	}
	return rs
}

// AddResourceServer serves a resource server, also in place of what was served for it.
func (w *World) AddResourceServer(rs documents.ResourceServer) {
	for _, scope := range rs.Scopes {
		w.apply("scope-"+scope.Name, registry.SpaceScope, scope.Name, rs.UID, "", nil)
	}
	w.apply("rs-"+rs.Identifier, registry.SpaceIdentity, documents.CanonicalIdentifier(rs.Identifier), rs.UID, documents.FormatResourceServer, rs)
}

// RemoveResourceServer stops serving a resource server.
func (w *World) RemoveResourceServer(identifier string) { w.Registry.Remove("rs-" + identifier) }

func (w *World) apply(name, space, value, uid, format string, doc any) {
	w.t.Helper()
	entry := registry.Entry{Space: space, Value: value, OwnerUID: uid, Format: format}
	if doc != nil {
		var err error
		entry.Document, err = documents.Encode(doc)
		must(w.t, err)
	}
	must(w.t, w.Registry.Apply(name, entry))
}

// material is made once: RSA keys and password hashes are slow.
type material struct {
	files        map[string][]byte
	keys         []documents.Key
	passwordHash string
}

var keysOnce = sync.OnceValue(func() material {
	m := material{files: map[string][]byte{}}
	for _, alg := range []string{"ES256", "RS256"} {
		kid, content, err := keys.GenerateSigning(alg, rand.Reader)
		panicOn(err)
		m.files[kid+".pem"] = content
		m.keys = append(m.keys, documents.Key{KID: kid, Algorithm: alg, Phase: documents.KeyActive})
	}
	for _, phase := range []string{documents.KeyActive, documents.KeyPublished} {
		kid, content, err := keys.GenerateSealing(rand.Reader)
		panicOn(err)
		m.files[kid+".sealing"] = content
		m.keys = append(m.keys, documents.Key{KID: kid, Algorithm: documents.AlgorithmSealing, Phase: phase})
	}
	var err error
	m.passwordHash, err = password.Hash(Password, rand.Reader)
	panicOn(err)
	return m
})

func panicOn(err error) {
	if err != nil {
		panic(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
