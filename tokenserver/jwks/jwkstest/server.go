package jwkstest

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// Server serves a key set with TLS on a loopback address. Safe for concurrent use.
type Server struct {
	// URL of the key set.
	URL string

	server  *httptest.Server
	fetches atomic.Int64
	mu      sync.Mutex
	handler http.HandlerFunc
}

// NewServer returns a server of the keys of the signers.
func NewServer(t testing.TB, signers ...Signer) *Server {
	t.Helper()
	s := &Server{}
	s.Serve(signers...)
	s.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fetches.Add(1)
		s.mu.Lock()
		handler := s.handler
		s.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(s.server.Close)
	s.URL = s.server.URL + "/jwks"
	return s
}

// Serve replaces the key set.
func (s *Server) Serve(signers ...Signer) {
	set := SetOf(signers...)
	s.Handle(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = w.Write([]byte(set))
	})
}

// Handle replaces the answer.
func (s *Server) Handle(handler http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = handler
}

// Fetches returns how many requests there were.
func (s *Server) Fetches() int64 { return s.fetches.Load() }

// CABundle returns the certificate of the server in PEM.
func (s *Server) CABundle() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw}))
}

// Fetch returns settings with which the server may be fetched.
func (s *Server) Fetch() *documents.Fetch {
	return &documents.Fetch{AllowedNetworks: []string{"127.0.0.0/8"}, JWKSHosts: []string{"127.0.0.1"}, CABundle: s.CABundle()}
}
