// Package servertest sets up a token server without a cluster, for the tests of its packages: the
// real registry, keys, store and endpoints, with documents that the test provides, and a clock that
// the test advances.
//
//	servertest.go     the Server and its parts
//	documents.go      its documents: the AuthorizationServer, clients, users and resource servers
//	requests.go       requests to its endpoints
//	authorization.go  authorizations, codes and the tokens for them
//	forged_tokens.go  values that resemble access tokens and are none
//	cached_store.go   a store with cached reads that lag on request
//	joined_store.go   a store that reads a grant together with what it rests on
//	rotating_store.go  a store that also replaces a refresh token without reading the grant first
package servertest

import (
	"bytes"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/clientauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/memory"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// What a Server from New begins with.
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

// Clock stands still until it is advanced. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Log collects what the server logs. It is safe for concurrent use.
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

// Server is the parts of one token server.
type Server struct {
	T testing.TB

	*Clock
	Log       *Log
	Metrics   *prometheus.Registry
	Registry  *registry.Registry
	Keys      *keys.Set
	Memory    *memory.Store
	Store     *storagetest.Faulty // in front of Memory
	Users     *users.Users
	Grants    *grant.Service
	Minter    *mint.Minter
	Clients   *clientauth.Authenticator
	Passwords *password.Verifier
	Throttle  *throttle.Throttle
	Web       *web.Adapter

	// Document is the AuthorizationServer's document as it is served; change it with
	// ChangeDocument.
	Document documents.Server
	// Used are the credentials that clients used: "<client UID>/<credential id>".
	Used []string
	// Misused are the right credentials that came by a wrong method.
	Misused []registry.CredentialUse

	mu      sync.Mutex
	routes  map[string]web.Handler
	secrets []string
}

// Options say what a Server begins with.
type Options struct {
	// Document is completed with the keys.
	Document documents.Server
	// Others are the other documents.
	Others []any
	// Store is put in front of Memory. Default: a new one.
	Store *storagetest.Faulty
}

// New returns a Server with the issuer Issuer, the user alice, the resource servers Orders and
// Stock, and no client.
func New(t testing.TB) *Server {
	t.Helper()
	return NewWith(t, Options{Document: document(), Others: []any{
		User(), ResourceServer(Orders, "orders:read", "orders:write"), ResourceServer(Stock, "stock:read"),
	}})
}

// NewWith returns a Server with other documents. When the test ends, it fails if a secret, code or
// token was logged.
func NewWith(t testing.TB, o Options) *Server {
	t.Helper()
	clock := &Clock{now: time.Now().Truncate(time.Second)}
	s := &Server{
		T: t, Clock: clock, Log: &Log{}, Metrics: prometheus.NewRegistry(),
		Registry: registry.New(clock.Now), Document: o.Document, Store: o.Store, routes: map[string]web.Handler{},
		secrets: []string{Secret, Password},
	}
	if s.Store == nil {
		s.Store = &storagetest.Faulty{}
	}
	s.loadKeys()
	s.serveDocument()
	registrytest.Fill(t, s.Registry, o.Others...)
	s.Registry.SetSynced()
	s.assemble()
	t.Cleanup(s.checkLog)
	return s
}

func (s *Server) loadKeys() {
	s.T.Helper()
	made := keyMaterial()
	s.Keys, s.Document.Keys = keys.NewSet(rand.Reader), made.keys
	dir := s.T.TempDir()
	for name, content := range made.files {
		must(s.T, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	must(s.T, s.Keys.LoadDir(dir))
}

// assemble puts the parts together as the program does.
func (s *Server) assemble() {
	s.T.Helper()
	log := slog.New(slog.NewJSONHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.Users = &users.Users{Registry: s.Registry, Store: s.Store, Keys: s.Keys, Now: s.Now, Log: log}
	s.Grants = &grant.Service{Store: s.grantStore(), Keys: s.Keys, Registry: s.Registry, Users: s.Users, Now: s.Now, Random: rand.Reader, Log: log}
	s.Restart()
	s.Minter = &mint.Minter{Keys: s.Keys, Registry: s.Registry, Now: s.Now}
	s.Clients = &clientauth.Authenticator{
		Registry: s.Registry, Sources: s.keySources(), Marks: s.Store, Now: s.Now, OnUse: s.recordUse,
	}
	s.Passwords = password.NewVerifier(password.Limits{CPUs: 2, Memory: password.MaxMemory - 1}, time.Now)
	var err error
	s.Grants.Metrics, err = grant.NewMetrics(s.Metrics)
	must(s.T, err)
	s.Clients.Metrics, err = clientauth.NewMetrics(s.Metrics)
	must(s.T, err)
	s.Throttle, err = throttle.New(s.Now, rand.Reader, s.Metrics)
	must(s.T, err)
	webMetrics, err := web.NewMetrics(s.Metrics)
	must(s.T, err)
	s.Web = &web.Adapter{
		Log: log, Metrics: webMetrics, Now: s.Now, Random: rand.Reader, Issuer: func() string { return s.Document.Issuer },
	}
}

// keySources fetches with the rules of the document that is served.
func (s *Server) keySources() *keysource.Sources {
	return keysource.New(&fetch.Client{Document: func() documents.Server {
		document, _ := s.Registry.Server()
		return document
	}}, s.Now, nil)
}

// Restart replaces what the process keeps in memory, as the program does when it starts again.
func (s *Server) Restart() {
	s.T.Helper()
	var err error
	s.Memory, err = memory.New(s.Now, rand.Reader)
	must(s.T, err)
	s.Store.Store, s.Grants.StoreID = s.Memory, s.Memory.ID()
	s.Store.OnEnd(s.Grants.ReportEnd)
	s.Store.SetNotBefore(s.Registry.NotBefore)
}

func (s *Server) recordUse(use registry.CredentialUse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if use.RefusedMethod != "" {
		s.Misused = append(s.Misused, use)
		return
	}
	s.Used = append(s.Used, use.ClientUID+"/"+use.CredentialID)
}

// material is made once: RSA keys and password hashes are slow.
type material struct {
	files        map[string][]byte
	keys         []documents.Key
	passwordHash string
}

var keyMaterial = sync.OnceValue(func() material {
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
