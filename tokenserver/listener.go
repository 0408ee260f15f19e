package tokenserver

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// poll is how often a port that cannot be bound is tried again, and how often mounted files are looked at.
const poll = time.Second

// listener serves HTTP on one address, as soon as it can be bound, and says what keeps it from that.
type listener struct {
	address string
	server  *http.Server
	door    *door
	// certificate, if it is not nil, makes it HTTPS.
	certificate *certificate
	log         *slog.Logger
	changed     func()

	mu      sync.Mutex
	problem string
	bound   string
}

func newListener(address string, handler http.Handler, log *slog.Logger, changed func()) *listener {
	// HTTP/1 alone: one request at a time on a connection, so that what bounds connections bounds everything. Proxies speak it to what is
	// behind them, and so do the clients of a token endpoint.
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	door := newDoor(maxConnections)
	return &listener{
		address: address,
		door:    door,
		server: &http.Server{
			Handler:           door.handler(handler),
			ConnContext:       door.context,
			Protocols:         protocols,
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       10 * time.Second, // the header and the body
			WriteTimeout:      30 * time.Second,
			IdleTimeout:       60 * time.Second,
			MaxHeaderBytes:    12 << 10, // net/http adds 4 KiB; the request line is part of it
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
		log:     log,
		changed: changed,
		problem: "not listening on " + address + " yet",
	}
}

// run serves until ctx ends or shutdown is called.
func (l *listener) run(ctx context.Context) {
	for ctx.Err() == nil {
		ln, err := l.listen(ctx)
		if err == nil {
			l.say("", ln.Addr().String())
			err = l.serve(ln)
		}
		if errors.Is(err, http.ErrServerClosed) {
			return
		}
		l.say(fmt.Sprintf("cannot listen on %s: %s", l.address, plain(err)), "")
		wait(ctx, poll)
	}
}

func (l *listener) listen(ctx context.Context) (net.Listener, error) {
	if l.certificate != nil {
		if err := l.certificate.missing(); err != nil {
			return nil, err
		}
	}
	return (&net.ListenConfig{}).Listen(ctx, "tcp", l.address)
}

func (l *listener) serve(ln net.Listener) error {
	ln = l.door.listener(ln)
	if l.certificate == nil {
		return l.server.Serve(ln)
	}
	l.server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: l.certificate.get}
	return l.server.ServeTLS(ln, "", "")
}

// plain is the innermost reason of an error, such as "address already in use".
func plain(err error) string {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number.Error()
	}
	return err.Error()
}

// say notes a new state, and tells if it differs from the last.
func (l *listener) say(problem, bound string) {
	l.mu.Lock()
	same := l.problem == problem && l.bound == bound
	l.problem, l.bound = problem, bound
	l.mu.Unlock()
	if same {
		return
	}
	if problem != "" {
		l.log.Warn(problem)
	} else {
		l.log.Info("listening", "address", bound, "tls", l.certificate != nil)
	}
	l.changed()
}

// state says what keeps it from serving, and where it serves.
func (l *listener) state() (problem, bound string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.problem, l.bound
}

// shutdown stops listening and waits for the requests under way, until ctx ends; then it cuts them off.
func (l *listener) shutdown(ctx context.Context) {
	if err := l.server.Shutdown(ctx); err != nil {
		_ = l.server.Close() // what is left is cut off
	}
}

// wait for a time; false if ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// certificate is the TLS certificate of a directory with tls.crt and tls.key, read again when it changes. One that cannot be read does not
// replace one that could.
type certificate struct {
	dir     string
	current atomic.Pointer[tls.Certificate]

	mu    sync.Mutex
	stamp [sha256.Size]byte
	err   error
}

// load reads the files if they have changed, and says whether there is a new certificate.
func (c *certificate) load() (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir := c.dir
	// As for keys: both files from one version of a projected Secret.
	if version, err := filepath.EvalSymlinks(filepath.Join(dir, "..data")); err == nil {
		dir = version
	}
	chain, err1 := os.ReadFile(filepath.Join(dir, "tls.crt"))
	key, err2 := os.ReadFile(filepath.Join(dir, "tls.key"))
	if err := errors.Join(err1, err2); err != nil {
		c.err = errors.New("tls.crt and tls.key cannot be read")
		return false, c.err
	}
	stamp := sha256.Sum256(append(append([]byte(fmt.Sprintf("%d ", len(chain))), chain...), key...))
	if stamp == c.stamp {
		return false, c.err
	}
	c.stamp = stamp
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		c.err = errors.New("tls.crt and tls.key are not a certificate and its key")
		return false, c.err
	}
	c.err = nil
	c.current.Store(&pair)
	return true, nil
}

// missing says why there is no certificate; nil if there is one.
func (c *certificate) missing() error {
	if c.current.Load() != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return errors.New("there is no TLS certificate")
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if pair := c.current.Load(); pair != nil {
		return pair, nil
	}
	return nil, errors.New("there is no TLS certificate")
}
