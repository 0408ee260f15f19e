// Package tokenserver is the token server: it puts the rooms below it together and runs them.
//
//	tokenserver.go  Server: the endpoints over a registry, keys and a store
//	routes.go       the table of endpoints
//	run.go          Run: the program, from its options to its orderly end
//	records.go      where records are kept
//	listener.go     ports and TLS certificates
//	door.go         which connections and requests are let in, before any work is done for them
//	status.go       probes and metrics
//	collector.go    how often garbage is collected
//	memory.go       how much memory there is, and how much of it is for password hashes
//
// Data flows one way: cluster fills registry and keys; the endpoint rooms (authorize, login, consent, logout, token, introspect, revoke,
// userinfo, metadata) read them and keep what outlives a request in storage.
package tokenserver

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/authorize"
	"github.com/oauth-operator/oauth-operator/tokenserver/clientauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/consent"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/introspect"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/login"
	"github.com/oauth-operator/oauth-operator/tokenserver/logout"
	"github.com/oauth-operator/oauth-operator/tokenserver/metadata"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/revoke"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
	"github.com/oauth-operator/oauth-operator/tokenserver/token"
	"github.com/oauth-operator/oauth-operator/tokenserver/userinfo"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Server is what the endpoints work with. All fields are needed, but for Epoch and HashMemory.
type Server struct {
	Registry *registry.Registry
	Keys     *keys.Set
	Store    storage.Store
	// Epoch of a store that does not outlive its process; empty for any other.
	Epoch string
	// HashMemory is how much memory the password hashes that are computed at once may take, in
	// bytes; zero: as much as the CPUs make them take.
	HashMemory int64
	// Used is told of each credential that was used.
	Used    func(registry.Use)
	Now     func() time.Time
	Random  io.Reader
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// rooms are the endpoints' rooms.
type rooms struct {
	edge       *web.Edge
	registry   *registry.Registry
	authorize  *authorize.Handler
	login      *login.Handler
	consent    *consent.Handler
	logout     *logout.Handler
	token      *token.Handler
	introspect *introspect.Handler
	revoke     *revoke.Handler
	userinfo   *userinfo.Handler
	metadata   *metadata.Handler

	mounted atomic.Pointer[mounted]
}

// mounted are the endpoints of an issuer, by path.
type mounted struct {
	issuer string
	at     map[string]http.Handler
}

// Handler serves the endpoints. Before the registry knows the server, everything is unavailable.
func (s *Server) Handler() (http.Handler, error) {
	r, err := s.rooms()
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (s *Server) rooms() (*rooms, error) {
	requests, err := web.NewMetrics(s.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	ended, err := grant.NewMetrics(s.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	grants := &grant.Service{
		Store: s.Store, Keys: s.Keys, Registry: s.Registry, Now: s.Now, Random: s.Random, Epoch: s.Epoch, Log: s.Log, Metrics: ended,
	}
	s.Store.OnEnd(grants.Ended)
	minter := &mint.Minter{Keys: s.Keys, Registry: s.Registry, Now: s.Now}
	flows := &interaction.Flows{Keys: s.Keys, Registry: s.Registry, Now: s.Now, Random: s.Random}
	consents := &interaction.Consents{Store: s.Store, Now: s.Now}
	sessions := &session.Sessions{Keys: s.Keys, Registry: s.Registry, Grants: grants, Now: s.Now, Random: s.Random}
	clients := &clientauth.Authenticator{Registry: s.Registry, Now: s.Now, Used: s.Used}
	passwords := password.NewVerifier(password.Limits{CPUs: runtime.GOMAXPROCS(0), Memory: s.HashMemory}, s.Now)
	guesses, err := throttle.New(s.Now, s.Random, s.Metrics)
	if err != nil {
		return nil, fmt.Errorf("make the throttle: %w", err)
	}
	devices := &throttle.Devices{Keys: s.Keys, Now: s.Now, Random: s.Random}

	return &rooms{
		edge:     &web.Edge{Log: s.Log, Metrics: requests, Now: s.Now, Random: s.Random, Issuer: s.issuer},
		registry: s.Registry,
		authorize: &authorize.Handler{
			Registry: s.Registry, Keys: s.Keys, Flows: flows, Sessions: sessions, Consents: consents, Grants: grants, Minter: minter, Now: s.Now,
		},
		login:   &login.Handler{Registry: s.Registry, Flows: flows, Sessions: sessions, Passwords: passwords, Throttle: guesses, Devices: devices},
		consent: &consent.Handler{Registry: s.Registry, Flows: flows, Sessions: sessions, Consents: consents},
		logout:  &logout.Handler{Registry: s.Registry, Keys: s.Keys, Flows: flows, Sessions: sessions, Now: s.Now},

		token:      &token.Handler{Clients: clients, Grants: grants, Minter: minter, Registry: s.Registry, Passwords: passwords, Throttle: guesses},
		introspect: &introspect.Handler{Clients: clients, Grants: grants, Registry: s.Registry},
		revoke:     &revoke.Handler{Clients: clients, Grants: grants},
		userinfo:   &userinfo.Handler{Grants: grants, Registry: s.Registry},

		metadata: &metadata.Handler{Registry: s.Registry, Keys: s.Keys},
	}, nil
}

// issuer that is served; empty before it is known.
func (s *Server) issuer() string {
	server, _ := s.Registry.Server()
	return server.Issuer
}

// ServeHTTP finds the endpoint by its path alone: the Host header and what proxies add mean nothing here.
func (r *rooms) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	server, ok := r.registry.Server()
	if !ok {
		r.edge.ForAPI("unavailable", unavailable).ServeHTTP(w, req)
		return
	}
	m := r.mounted.Load()
	if m == nil || m.issuer != server.Issuer {
		m = &mounted{server.Issuer, r.mount(server.Issuer)}
		r.mounted.Store(m)
	}
	h, ok := m.at[req.URL.Path]
	if !ok {
		h = r.edge.ForAPI("none", notFound)
	}
	h.ServeHTTP(w, req)
}

func unavailable(http.ResponseWriter, *http.Request) error {
	return oauth.Errorf(oauth.TemporarilyUnavailable, "the server is not ready yet").WithHeader("Retry-After", "2")
}

func notFound(http.ResponseWriter, *http.Request) error {
	return oauth.Errorf(oauth.InvalidRequest, "there is no such endpoint").WithStatus(http.StatusNotFound)
}
