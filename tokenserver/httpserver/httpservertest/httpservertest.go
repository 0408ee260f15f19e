// Package httpservertest runs an httpserver.Server for tests, and talks to it over raw connections.
package httpservertest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver"
)

// Server is a server on a loopback port that runs until the end of its test.
type Server struct {
	*httpserver.Server
	t testing.TB
}

// Start returns a server that listens. change, if it is not nil, changes its configuration before.
func Start(t testing.TB, handler http.Handler, change func(*httpserver.Config)) *Server {
	t.Helper()
	config := httpserver.Config{
		Address: "127.0.0.1:0", Handler: handler, Limits: httpserver.DefaultLimits(), Log: slog.New(slog.DiscardHandler), Changed: func() {},
	}
	if change != nil {
		change(&config)
	}
	s := &Server{httpserver.New(config), t}
	s.ReloadCertificate()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		canceled, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		cancel()
		s.Shutdown(canceled)
		<-done
	})
	s.Eventually("it listens", func() bool { return s.Address() != "" })
	return s
}

// ShortLimits sets timeouts so short that a test can wait for them.
func ShortLimits(c *httpserver.Config) {
	c.Limits.Header, c.Limits.Request, c.Limits.Response, c.Limits.Idle =
		200*time.Millisecond, 400*time.Millisecond, 600*time.Millisecond, 300*time.Millisecond
}

// Eventually waits for a condition, and fails the test if it does not become true.
func (s *Server) Eventually(sentence string, isTrue func() bool) {
	s.t.Helper()
	eventually.True(s.t, sentence, isTrue)
}

// Dial opens a connection that is closed at the end of the test.
func (s *Server) Dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.Address())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// Send writes text to a connection and returns the connection. It ignores errors: if the server
// closes the connection, the next read fails.
func Send(c net.Conn, text string) net.Conn {
	_, _ = io.WriteString(c, text)
	return c
}

// SendEndlessly repeats a request, and reads no response, until the connection takes no more.
func (s *Server) SendEndlessly(request string) {
	s.t.Helper()
	c := s.Dial()
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	for {
		if _, err := io.WriteString(c, request); err != nil {
			return
		}
	}
}

// ReadResponse reads one response; status 0: the server closed the connection without one.
func ReadResponse(c net.Conn) (status int, body string) {
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	content, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(content)
}

// IsClosed discards what the server sends, and reports whether it closes the connection in time.
func IsClosed(c net.Conn, timeout time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(timeout))
	_, err := io.Copy(io.Discard, c)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}
