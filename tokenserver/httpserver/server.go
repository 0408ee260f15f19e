// Package httpserver serves HTTP on a port, and bounds what clients can take up before any work is
// done for them.
//
//	server.go       Server: binding the port, timeouts, shutdown
//	limiter.go      which connections are open, and which are closed for new ones
//	request.go      reading a request and writing its response while the connection does not count
//	wait.go         Wait: handlers that wait for another server
//	certificate.go  the TLS certificate, reloaded when its files change
//	metrics.go      metrics of the connections
//	certificate_metrics.go  when the certificate expires
package httpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// retryInterval is how long a server waits after a failed attempt to bind its port.
const retryInterval = time.Second

// Limits bound the connections of a server. All must be positive.
type Limits struct {
	// Connections is how many connections may be open at once.
	Connections int
	// IncompleteBytes is how many bytes of incomplete requests are kept on all connections
	// together. Most requests have 1 KiB, the largest has 80. A header of many short lines takes 45
	// times its bytes in memory.
	IncompleteBytes int
	// Header is how long the header of a request may take, Request header and body together.
	Header, Request time.Duration
	// Response is how long a response may take, from the end of the request's header.
	Response time.Duration
	// Idle is how long a connection is kept open between two requests.
	Idle time.Duration
}

// DefaultLimits returns the limits of a server that faces the internet.
func DefaultLimits() Limits {
	return Limits{
		Connections: 2048, IncompleteBytes: 2 << 20,
		Header: 5 * time.Second, Request: 10 * time.Second, Response: 30 * time.Second, Idle: 60 * time.Second,
	}
}

// Config configures a Server. All fields but TLSDir are required.
type Config struct {
	// Address to listen on, "host:port"; the host may be empty.
	Address string
	Handler http.Handler
	// TLSDir is the directory of tls.crt and tls.key. Empty: the server speaks plain HTTP.
	TLSDir string
	Limits Limits
	Log    *slog.Logger
	// Changed is called after each change of Problem or Address.
	Changed func()
}

// Server serves HTTP on one address. It binds the port as soon as it can, and reports why it
// cannot.
type Server struct {
	config      Config
	http        *http.Server
	limiter     *connectionLimiter
	certificate *certificate // nil without TLS

	mu      sync.Mutex
	problem string
	bound   string
}

// New returns a server that does not listen yet.
func New(c Config) *Server {
	// HTTP/1 serves one request at a time on a connection, so the limit on connections is also the
	// limit on requests. Proxies speak it to the servers behind them, and so do OAuth clients.
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	limiter := newConnectionLimiter(c.Limits)
	s := &Server{
		config:  c,
		limiter: limiter,
		http: &http.Server{
			Handler:           limiter.wrap(c.Handler),
			ConnContext:       connContext,
			ConnState:         connState,
			Protocols:         protocols,
			ReadHeaderTimeout: c.Limits.Header,
			ReadTimeout:       c.Limits.Request,
			WriteTimeout:      c.Limits.Response,
			IdleTimeout:       c.Limits.Idle,
			MaxHeaderBytes:    12 << 10, // net/http adds 4 KiB; includes the request line
			ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
		},
		problem: "not listening on " + c.Address + " yet",
	}
	if c.TLSDir != "" {
		s.certificate = &certificate{dir: c.TLSDir}
	}
	return s
}

// Run serves until ctx ends or Shutdown is called. While the port cannot be bound, or there is no
// certificate, it tries again every second.
func (s *Server) Run(ctx context.Context) {
	for ctx.Err() == nil {
		ln, err := s.listen(ctx)
		if err == nil {
			s.setState("", ln.Addr().String())
			err = s.serve(ln)
		}
		if errors.Is(err, http.ErrServerClosed) {
			return
		}
		s.setState(fmt.Sprintf("cannot listen on %s: %s", s.config.Address, rootCause(err)), "")
		select {
		case <-ctx.Done():
		case <-time.After(retryInterval):
		}
	}
}

func (s *Server) listen(ctx context.Context) (net.Listener, error) {
	if s.certificate != nil {
		if err := s.certificate.missing(); err != nil {
			return nil, err
		}
	}
	return (&net.ListenConfig{}).Listen(ctx, "tcp", s.config.Address)
}

func (s *Server) serve(ln net.Listener) error {
	ln = &limitedListener{ln, s.limiter}
	if s.certificate == nil {
		return s.http.Serve(ln)
	}
	s.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certificate.get, GetConfigForClient: clearClientHello}
	return s.http.ServeTLS(ln, "", "")
}

// rootCause returns the innermost reason of an error, such as "address already in use".
func rootCause(err error) string {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number.Error()
	}
	return err.Error()
}

// setState records a state, and logs and reports it if it differs from the last.
func (s *Server) setState(problem, bound string) {
	s.mu.Lock()
	same := s.problem == problem && s.bound == bound
	s.problem, s.bound = problem, bound
	s.mu.Unlock()
	if same {
		return
	}
	if problem != "" {
		s.config.Log.Warn(problem)
	} else {
		s.config.Log.Info("listening", "address", bound, "tls", s.certificate != nil)
	}
	s.config.Changed()
}

// Problem returns why the server does not serve; empty if it does.
func (s *Server) Problem() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problem
}

// Address returns the address that the server listens on, "host:port"; empty while it does not.
func (s *Server) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bound
}

// CloseAfterResponses closes each connection after the next response on it, which says so
// (Connection: close, RFC 9112 section 9.6). So clients leave the connections that they keep before
// Shutdown closes those, and no request is on its way on one of them.
func (s *Server) CloseAfterResponses() { s.limiter.closing.Store(true) }

// Shutdown stops listening and waits for the requests in progress. When ctx ends, it closes the
// connections that are left.
func (s *Server) Shutdown(ctx context.Context) {
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close() // nothing more can be done
	}
}
