// Package interactiontest sets up a token server with the endpoints that a browser visits, behind
// a real HTTP server, for the tests of these endpoints.
//
//	server.go     the server and its handlers
//	documents.go  its clients and users
//	browser.go    requests to the authorization endpoint, and a browser
package interactiontest

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/authorize"
	"github.com/oauth-operator/oauth-operator/tokenserver/callback"
	"github.com/oauth-operator/oauth-operator/tokenserver/consent"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap/ldaptest"
	"github.com/oauth-operator/oauth-operator/tokenserver/login"
	"github.com/oauth-operator/oauth-operator/tokenserver/logout"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc/oidctest"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Server is a token server with the endpoints that a browser visits.
type Server struct {
	*servertest.Server
	Issuer   string
	HTTP     *httptest.Server
	Flows    *interaction.Flows
	Sessions *session.Sessions
	// Providers have the secret of package oidctest.
	Providers *oidc.Providers
	// Directories have the password of package ldaptest.
	Directories *ldap.Directories
}

// Option changes how a Server is made.
type Option func(*options)

type options struct {
	tls   bool
	path  string
	store *storagetest.Faulty
}

// TLS makes the issuer an https one.
func TLS(o *options) { o.tls = true }

// Path puts the issuer below a path.
func Path(path string) Option { return func(o *options) { o.path = path } }

// Store puts a store that fails on request in front of the one in memory.
func Store(store *storagetest.Faulty) Option { return func(o *options) { o.store = store } }

// New starts a server with the users alice and bob, and the clients of Clients.
func New(t testing.TB, opts ...Option) *Server {
	t.Helper()
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	s := &Server{HTTP: httptest.NewUnstartedServer(nil)}
	scheme := "http://"
	if o.tls {
		scheme = "https://"
	}
	s.Issuer = scheme + s.HTTP.Listener.Addr().String() + o.path
	s.Server = servertest.NewWith(t, servertest.Options{
		Document: document(s.Issuer), Others: append(Clients(), users()...), Store: o.store,
	})
	s.HTTP.Config.Handler = s.handler(o.path)
	if o.tls {
		s.HTTP.StartTLS()
	} else {
		s.HTTP.Start()
	}
	t.Cleanup(s.HTTP.Close)
	return s
}

func (s *Server) handler(path string) http.Handler {
	s.Flows = &interaction.Flows{Keys: s.Keys, Registry: s.Registry, Now: s.Now, Random: rand.Reader}
	s.Sessions = &session.Sessions{Keys: s.Keys, Registry: s.Registry, Users: s.Users, Grants: s.Grants, Now: s.Now, Random: rand.Reader}
	s.Providers, s.Directories = s.newProviders(), s.newDirectories()
	s.Users.Directories = s.Directories
	consents := &interaction.Consents{Store: s.Store, Now: s.Now}
	authorizeHandler := &authorize.Handler{
		Registry: s.Registry, Keys: s.Keys, Flows: s.Flows, Sessions: s.Sessions, Consents: consents, Grants: s.Grants, Minter: s.Minter, Now: s.Now,
		Log: s.Web.Log,
	}
	loginHandler := &login.Handler{
		Registry: s.Registry, Flows: s.Flows, Sessions: s.Sessions, Passwords: s.Passwords, Throttle: s.Throttle,
		Devices: &throttle.Devices{Keys: s.Keys, Now: s.Now, Random: rand.Reader}, Providers: s.Providers,
		Directories: s.Directories, Users: s.Users, Log: s.Web.Log,
	}
	callbackHandler := &callback.Handler{
		Registry: s.Registry, Flows: s.Flows, Sessions: s.Sessions, Users: s.Users, Providers: s.Providers, Log: s.Web.Log,
	}
	consentHandler := &consent.Handler{Registry: s.Registry, Flows: s.Flows, Sessions: s.Sessions, Consents: consents}
	logoutHandler := &logout.Handler{Registry: s.Registry, Keys: s.Keys, Sessions: s.Sessions, Providers: s.Providers, Now: s.Now}
	mux := http.NewServeMux()
	for route, handle := range map[string]web.Handler{
		oauth.PathAuthorize: authorizeHandler.Handle, interaction.PathLogin: loginHandler.Handle,
		interaction.PathConsent: consentHandler.Handle, oauth.PathLogout: logoutHandler.Handle,
	} {
		mux.Handle(path+route, s.Web.ForBrowser(route[1:], handle, http.MethodGet, http.MethodPost))
	}
	mux.Handle(path+oauth.PathCallback+"/", s.Web.ForBrowser("callback", callbackHandler.Handle, http.MethodGet))
	return mux
}

func (s *Server) newClient() *fetch.Client {
	return &fetch.Client{Document: func() documents.Server {
		document, _ := s.Registry.Server()
		return document
	}}
}

func (s *Server) newDirectories() *ldap.Directories {
	return &ldap.Directories{
		Client: s.newClient(), Password: func(string) (string, bool) { return ldaptest.BindPassword, true }, Throttle: s.Throttle,
		Replicas: func(time.Duration) int { return 1 }, Now: s.Now, Random: rand.Reader, Log: s.Web.Log,
		Sleep: func(context.Context, time.Duration) bool { return true },
	}
}

func (s *Server) newProviders() *oidc.Providers {
	client := s.newClient()
	return &oidc.Providers{Client: client, Sources: keysource.New(client, s.Now, nil), Secret: oidctest.FindSecret, Now: s.Now, Random: rand.Reader}
}

// Apply serves documents, also in place of what was served before.
func (s *Server) Apply(documents ...any) {
	s.T.Helper()
	registrytest.Fill(s.T, s.Registry, documents...)
}

// User returns the document that is served for the user with the name.
func (s *Server) User(name string) documents.User {
	s.T.Helper()
	_, found, _ := s.Registry.LookUpLogin(name)
	if found == nil {
		s.T.Fatalf("no user %s", name)
	}
	return found.User
}

// Client returns the document that is served for the client.
func (s *Server) Client(id string) documents.Client {
	s.T.Helper()
	found, ok := s.Registry.Client(id)
	if !ok {
		s.T.Fatalf("no client %s", id)
	}
	return *found.Client
}

// Redeem exchanges an authorization code for tokens, as the token endpoint does for the client.
func (s *Server) Redeem(clientID, code, redirectURI, verifier string) (grant.Result, error) {
	s.T.Helper()
	client, ok := s.Registry.Client(clientID)
	if !ok {
		s.T.Fatalf("no client %s", clientID)
	}
	return s.Grants.Redeem(context.WithoutCancel(s.T.Context()), grant.RedeemRequest{
		Client: client, Code: code, RedirectURI: redirectURI, CodeVerifier: verifier,
	})
}
