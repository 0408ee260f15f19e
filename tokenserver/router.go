// Package tokenserver is the token server of one AuthorizationServer: the OAuth 2.0 and OpenID
// Connect endpoints of its issuer, and the program that runs them.
//
//	run.go       Run: the program, from its options to its shutdown
//	store.go     the storage that the options name
//	metrics.go   the metrics of what the endpoints work with
//	memory.go    how much memory password hashes may take
//	status.go    the port with probes and metrics
//	router.go    Server: the endpoints over a registry, keys and a store
//	routes.go    the table of endpoints
//	keysets.go   the key sets of clients
//	upstreams.go the identity providers
//
// Data flows one way: package cluster fills registry and keys from the documents in the cluster; the
// endpoints (authorize, login, callback, consent, logout, token, introspect, revoke, userinfo, metadata) read
// them, and keep in the store what outlives a request. The endpoints share these packages:
//
//	oauth, web, pages     the words of the protocol, errors and responses, HTML
//	clientauth            which client sent a request
//	oidc, ldap            the sign-in at an OpenID provider, and at a directory
//	jwks                  the public keys of others
//	fetch, keysource      getting such keys from URLs, and keeping them
//	interaction, session  the flows and the sessions of browsers
//	password, throttle    passwords, and how fast they can be guessed
//	users                 who a user is, of here or from elsewhere
//	grant, mint           what a user has authorized, and the tokens for it
//	storage               the records of grants, consents and marks
//
// Package httpserver has the ports, and memorylimit sets up the garbage collector.
package tokenserver

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/oauth-operator/oauth-operator/tokenserver/authorize"
	"github.com/oauth-operator/oauth-operator/tokenserver/callback"
	"github.com/oauth-operator/oauth-operator/tokenserver/clientauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/consent"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/introspect"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap"
	"github.com/oauth-operator/oauth-operator/tokenserver/login"
	"github.com/oauth-operator/oauth-operator/tokenserver/logout"
	"github.com/oauth-operator/oauth-operator/tokenserver/metadata"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/revoke"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
	"github.com/oauth-operator/oauth-operator/tokenserver/token"
	"github.com/oauth-operator/oauth-operator/tokenserver/userinfo"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
	"github.com/oauth-operator/oauth-operator/tokenserver/workload"
)

// Server has what the endpoints work with. All fields but StoreID, HashMemory, Cluster, Upstream,
// Replicas, OnProblem and Tracer are required.
type Server struct {
	Registry *registry.Registry
	Keys     *keys.Set
	Store    storage.Store
	// StoreID identifies the records of Store, as in grant.Service.
	StoreID string
	// HashMemory is how many bytes the password hashes that are computed at once may take. Zero:
	// the number of CPUs is the only limit.
	HashMemory int64
	// Cluster is the API server, which verifies the tokens of ServiceAccounts. Nil: none can
	// authenticate.
	Cluster workload.Cluster
	// Upstream returns a credential for identity providers by the name of its file. Nil: there is none.
	Upstream func(name string) (string, bool)
	// Replicas returns how many replicas were live at most within a time. Nil: this is the only one.
	Replicas func(within time.Duration) int
	// OnProblem, if set, is called when the result of workload.Verifier.Problem, oidc.Providers.Problems
	// or ldap.Directories.Problems has changed.
	OnProblem func()
	// Used is called for each credential that authenticated a client.
	Used    func(registry.CredentialUse)
	Now     func() time.Time
	Random  io.Reader
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Tracer may be nil.
	Tracer trace.Tracer
}

// router finds the endpoint of a request.
type router struct {
	web        *web.Adapter
	registry   *registry.Registry
	authorize  *authorize.Handler
	login      *login.Handler
	callback   *callback.Handler
	consent    *consent.Handler
	logout     *logout.Handler
	token      *token.Handler
	introspect *introspect.Handler
	revoke     *revoke.Handler
	userinfo   *userinfo.Handler
	metadata   *metadata.Handler
	keySources *keysource.Sources
	workloads  *workload.Verifier
	providers  *oidc.Providers

	directories *ldap.Directories

	current atomic.Pointer[handlers]
}

// handlers are the endpoints of one issuer, by path.
type handlers struct {
	issuer string
	byPath map[string]http.Handler
	// callback is for each path that begins with callbackPath, and has one more segment.
	callback     http.Handler
	callbackPath string
	none         http.Handler // for every other path
}

// Endpoints are the endpoints as one handler, and what keeps what they need of others: all have to run.
type Endpoints struct {
	http.Handler
	Workloads  *workload.Verifier
	KeySources *keysource.Sources
	Providers  *oidc.Providers

	Directories *ldap.Directories
}

// Endpoints returns the endpoints. Until the registry has a server document, each request is
// answered with 503.
func (s *Server) Endpoints() (Endpoints, error) {
	r, err := s.newRouter()
	if err != nil {
		return Endpoints{}, err
	}
	return Endpoints{r, r.workloads, r.keySources, r.providers, r.directories}, nil
}

func (s *Server) newRouter() (*router, error) {
	metrics, err := newEndpointMetrics(s.Metrics, s.Registry)
	if err != nil {
		return nil, err
	}
	known := &users.Users{Registry: s.Registry, Store: s.Store, Keys: s.Keys, Now: s.Now, Log: s.Log, Metrics: metrics.users}
	grants := &grant.Service{
		Store: s.Store, Keys: s.Keys, Registry: s.Registry, Users: known, Now: s.Now, Random: s.Random, StoreID: s.StoreID, Log: s.Log, Metrics: metrics.grants,
	}
	s.Store.OnEnd(grants.ReportEnd)
	s.Store.SetNotBefore(s.Registry.NotBefore)
	s.Store.SetIdentitySpecs(s.hasIdentitySpec)
	minter := &mint.Minter{Keys: s.Keys, Registry: s.Registry, Now: s.Now}
	flows := &interaction.Flows{Keys: s.Keys, Registry: s.Registry, Now: s.Now, Random: s.Random}
	consents := &interaction.Consents{Store: s.Store, Now: s.Now}
	sessions := &session.Sessions{Keys: s.Keys, Registry: s.Registry, Users: known, Grants: grants, Now: s.Now, Random: s.Random}
	fetcher := &fetch.Client{Document: s.document}
	sources := keysource.New(fetcher, s.Now, metrics.sources)
	workloads := workload.New(workload.Config{
		Server: s.Registry.Server, Sources: sources, Fetch: fetcher, Cluster: s.Cluster, Now: s.Now, OnProblem: s.OnProblem,
	})
	providers := s.newProviders(fetcher, sources)
	clients := &clientauth.Authenticator{
		Registry: s.Registry, Sources: sources, Workloads: workloads, Marks: s.Store, Now: s.Now, Metrics: metrics.clients, OnUse: s.Used,
	}
	passwords, err := s.newVerifier()
	if err != nil {
		return nil, err
	}
	guesses, err := throttle.New(s.Now, s.Random, s.Metrics)
	if err != nil {
		return nil, fmt.Errorf("creating the throttle: %w", err)
	}
	directories := s.newDirectories(fetcher, guesses, metrics.ldap)
	known.Directories = directories
	devices := &throttle.Devices{Keys: s.Keys, Now: s.Now, Random: s.Random}

	return &router{
		web:      &web.Adapter{Log: s.Log, Metrics: metrics.requests, Now: s.Now, Random: s.Random, Issuer: s.issuer, Tracing: s.tracing()},
		registry: s.Registry,
		authorize: &authorize.Handler{
			Registry: s.Registry, Keys: s.Keys, Flows: flows, Sessions: sessions, Consents: consents, Grants: grants, Minter: minter, Now: s.Now, Log: s.Log,
		},
		login: &login.Handler{
			Registry: s.Registry, Flows: flows, Sessions: sessions, Passwords: passwords, Throttle: guesses, Devices: devices, Providers: providers,
			Directories: directories, Users: known, Log: s.Log,
		},
		callback: &callback.Handler{
			Registry: s.Registry, Flows: flows, Sessions: sessions, Users: known, Providers: providers, Log: s.Log, Metrics: metrics.callback,
		},
		consent: &consent.Handler{Registry: s.Registry, Flows: flows, Sessions: sessions, Consents: consents},
		logout:  &logout.Handler{Registry: s.Registry, Keys: s.Keys, Sessions: sessions, Providers: providers, Now: s.Now},

		token:      &token.Handler{Clients: clients, Grants: grants, Minter: minter, Registry: s.Registry, Passwords: passwords, Throttle: guesses},
		introspect: &introspect.Handler{Clients: clients, Grants: grants, Registry: s.Registry},
		revoke:     &revoke.Handler{Clients: clients, Grants: grants},
		userinfo:   &userinfo.Handler{Grants: grants, Registry: s.Registry},

		metadata:  &metadata.Handler{Registry: s.Registry, Keys: s.Keys, Now: s.Now},
		workloads: workloads, keySources: sources, providers: providers, directories: directories,
	}, nil
}

// newVerifier returns the verifier of passwords, with its metrics registered.
func (s *Server) newVerifier() (*password.Verifier, error) {
	verifier := password.NewVerifier(password.Limits{CPUs: runtime.GOMAXPROCS(0), Memory: s.HashMemory}, s.Now)
	for _, c := range verifier.Metrics() {
		if err := s.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of passwords: %w", err)
		}
	}
	return verifier, nil
}

// tracing returns nil if there are no traces.
func (s *Server) tracing() *web.Tracing {
	if s.Tracer == nil {
		return nil
	}
	return &web.Tracing{Tracer: s.Tracer, TrustedProxies: func() []string {
		server, _ := s.Registry.Server()
		return server.TrustedProxies
	}}
}

// document returns the server's document; an empty one until the registry has it.
func (s *Server) document() documents.Server {
	server, _ := s.Registry.Server()
	return server
}

// issuer returns the issuer identifier; empty until the registry has a server document.
func (s *Server) issuer() string {
	server, _ := s.Registry.Server()
	return server.Issuer
}

// ServeHTTP finds the endpoint by the path of the request alone: neither the Host header nor what
// proxies add has a meaning here.
func (r *router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	server, ok := r.registry.Server()
	if !ok {
		r.web.ForAPI("unavailable", unavailable).ServeHTTP(w, req)
		return
	}
	current := r.current.Load()
	if current == nil || current.issuer != server.Issuer {
		current = r.handlers(server.Issuer)
		r.current.Store(current)
	}
	h, ok := current.byPath[req.URL.Path]
	if name, isCallback := strings.CutPrefix(req.URL.Path, current.callbackPath); isCallback && name != "" && !strings.Contains(name, "/") {
		h, ok = current.callback, true
	}
	if !ok {
		h = current.none
	}
	h.ServeHTTP(w, req)
}

func unavailable(http.ResponseWriter, *http.Request) error { return web.NotReady() }

func notFound(http.ResponseWriter, *http.Request) error {
	return oauth.Errorf(oauth.InvalidRequest, "there is no such endpoint").WithStatus(http.StatusNotFound)
}
