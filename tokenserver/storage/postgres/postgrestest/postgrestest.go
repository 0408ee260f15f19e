// Package postgrestest runs PostgreSQL servers for tests. Each has a directory of its own and a
// free port of the loopback address, and is removed after the test. The package needs the programs
// of PostgreSQL (on Debian the package postgresql), and no running server.
//
//	postgrestest.go  Server: starting, killing and restarting one, and its databases
//	fill.go          records as a server has them that has run for a while
//	programs.go      the programs of PostgreSQL, and the user that runs them
//	standby.go       a streaming standby, and its promotion
//	pooler.go        Pooler, a PgBouncer in front of a server
//	proxy.go         Proxy, which delays or drops what a client and a server send
package postgrestest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/process"
)

// User and Password of the superuser. The password contains characters that a URL must encode.
const (
	User     = "postgres"
	Password = "s3cret/of:the@database?"
)

// host is the address that servers listen on.
const host = "127.0.0.1"

// patience bounds the start of a server.
const startTimeout = time.Minute

// Server is a PostgreSQL server.
type Server struct {
	dir      string
	programs programs
	port     int
	options  []string

	log serverLog

	mu        sync.Mutex
	process   *process.Process
	databases atomic.Int64
}

// log is the output of the server.
type serverLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *serverLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Start starts a new server and stops it after the test. Options are settings, such as
// "max_connections=20".
func Start(t testing.TB, options ...string) *Server {
	t.Helper()
	s, err := New(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// New starts a new server. It runs until Stop, and not longer than this process.
func New(options ...string) (*Server, error) {
	s := &Server{options: options}
	var err error
	if s.programs, err = findPrograms(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "postgrestest-"); err != nil {
		return nil, err
	}
	if err := s.initialize(); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) initialize() error {
	if err := s.programs.changeOwner(s.dir); err != nil {
		return err
	}
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(Password+"\n"), 0o600); err != nil {
		return err
	}
	if err := s.programs.changeOwner(password); err != nil {
		return err
	}
	if err := s.programs.run(s.dir, "initdb", "--pgdata="+s.dataDir(), "--username="+User, "--pwfile="+password, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C", "--no-sync"); err != nil {
		return err
	}
	return s.startOnFreePort()
}

func (s *Server) startOnFreePort() error {
	for range 3 {
		var err error
		if s.port, err = loopback.FreePort(host); err != nil {
			return err
		}
		if err = s.Start(); err == nil {
			return nil
		}
		if !strings.Contains(s.log.String(), "Address already in use") {
			return err
		}
	}
	return errors.New("no port was free for PostgreSQL")
}

func (s *Server) dataDir() string { return filepath.Join(s.dir, "data") }

// Dir returns a directory that the server can read.
func (s *Server) Dir() string { return s.dir }

// ChangeOwner makes the server's user the owner of a file, which PostgreSQL requires of keys.
func (s *Server) ChangeOwner(file string) error { return s.programs.changeOwner(file) }

// Start starts the server again, with the same data and port. It returns when the server answers.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	args := []string{
		"-D", s.dataDir(), "-h", host, "-p", strconv.Itoa(s.port), "-c", "unix_socket_directories=",
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "shared_buffers=16MB",
	}
	for _, option := range s.options {
		args = append(args, "-c", option)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		before := len(s.log.String())
		err := s.startOnce(ctx, args)
		if err == nil || !strings.Contains(s.log.String()[before:], "shared memory block") {
			return err
		}
		time.Sleep(100 * time.Millisecond) // the child processes of the killed server have not exited yet
	}
}

func (s *Server) startOnce(ctx context.Context, args []string) error {
	p, err := process.Start(process.Command{
		Path: s.programs.path("postgres"), Args: args, Dir: s.dir, Output: &s.log, Credential: s.programs.credential,
	})
	if err != nil {
		return err
	}
	s.process = p
	for {
		if err := s.exec(ctx, "postgres", "SELECT 1"); err == nil {
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("PostgreSQL has exited: %s\n%s", p.State(), s.log.String())
		case <-ctx.Done():
			p.Kill()
			return fmt.Errorf("PostgreSQL does not answer\n%s", s.log.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Kill kills the server (SIGKILL). Its child processes exit soon after.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.Kill()
	}
}

// Signal sends a signal to the server's main process.
func (s *Server) Signal(sig os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process.Signal(sig)
}

// Stop stops the server and removes its directory.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.Stop(5 * time.Second)
	}
	// The child processes of a killed server write until they exit.
	for range 50 {
		if os.RemoveAll(s.dir) == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Log returns what the server has written to its log.
func (s *Server) Log() string { return s.log.String() }

// Address returns the host and port of the server.
func (s *Server) Address() string { return fmt.Sprintf("%s:%d", host, s.port) }

// DSN returns the DSN of a database of the server.
func (s *Server) DSN(database string) string { return DSN(s.Address(), database, "sslmode=disable") }

// DSN returns the DSN of a database at an address: that of a server, or of a proxy in front of it.
func DSN(address, database, query string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(User, Password), Host: address, Path: database, RawQuery: query}
	return u.String()
}

// NewDatabase creates an empty database, and returns its name.
func (s *Server) NewDatabase(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", s.databases.Add(1))
	s.Exec(t, "postgres", "CREATE DATABASE "+name)
	return name
}

// Exec executes statements in a database.
func (s *Server) Exec(t testing.TB, database, statements string) {
	t.Helper()
	if err := s.exec(t.Context(), database, statements); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) exec(ctx context.Context, database, statements string) error {
	conn, err := pgx.Connect(ctx, s.DSN(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // the statements were executed, or failed
	_, err = conn.PgConn().Exec(ctx, statements).ReadAll()
	return err
}

// QueryValue returns the one value that a query returns.
func QueryValue[T any](t testing.TB, s *Server, database, query string, args ...any) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // the value was read, or not
	var value T
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// restrictKey is the random key in a dump by which psql knows the end of what it restores.
var restrictKey = regexp.MustCompile(`(?m)^\\(un)?restrict .*$`)

// Dump returns the content of a database, as pg_dump writes it: while the content is the same, so is
// the dump.
func (s *Server) Dump(t testing.TB, database string) string {
	t.Helper()
	content, err := s.programs.output(s.dir, []string{"PGPASSWORD=" + Password}, "pg_dump", "--inserts", "--host="+host, "--port="+strconv.Itoa(s.port),
		"--username="+User, "--no-password", database)
	if err != nil {
		t.Fatal(err)
	}
	return restrictKey.ReplaceAllString(content, "")
}
