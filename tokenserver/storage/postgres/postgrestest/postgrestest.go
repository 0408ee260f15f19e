// Package postgrestest runs PostgreSQL servers for tests: each in a directory of its own, on a free port of the loopback address, gone with the
// test. It needs the programs of PostgreSQL (on Debian the package postgresql), and nothing that runs beforehand.
//
//	postgrestest.go  a server: started, killed, started again, and its databases
//	programs.go      where the programs are, and as whom they run
//	proxy.go         something between a client and a server that delays, drops and repeats
package postgrestest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
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

// User and Password of the superuser. The password has what has to be encoded in a URL.
const (
	User     = "postgres"
	Password = "s3cret/of:the@database?"
)

// host is where servers listen.
const host = "127.0.0.1"

// patience is how long a server may take to start.
const patience = time.Minute

// Server is a PostgreSQL server.
type Server struct {
	dir      string
	programs programs
	port     int
	options  []string

	log log

	mu        sync.Mutex
	process   *process.Process
	databases atomic.Int64
}

// log is the output of the server.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Start starts a new server, for as long as the test runs. Options are settings, such as "max_connections=20".
func Start(t testing.TB, options ...string) *Server {
	t.Helper()
	s, err := New(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// New starts a new server. It runs until Stop, and never longer than this process.
func New(options ...string) (*Server, error) {
	s := &Server{options: options}
	var err error
	if s.programs, err = find(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "postgrestest-"); err != nil {
		return nil, err
	}
	if err := s.begin(); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) begin() error {
	if err := s.programs.own(s.dir); err != nil {
		return err
	}
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(Password+"\n"), 0o600); err != nil {
		return err
	}
	if err := s.programs.own(password); err != nil {
		return err
	}
	if err := s.programs.run(s.dir, "initdb", "--pgdata="+s.data(), "--username="+User, "--pwfile="+password, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C", "--no-sync"); err != nil {
		return err
	}
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

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Dir is a directory that the server can read.
func (s *Server) Dir() string { return s.dir }

// Own makes a file the server's own, as it demands of keys.
func (s *Server) Own(file string) error { return s.programs.own(file) }

// Start starts the server again, with what it had, on the port that it had. It returns when the server answers.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	args := []string{
		"-D", s.data(), "-h", host, "-p", strconv.Itoa(s.port), "-c", "unix_socket_directories=",
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "shared_buffers=16MB",
	}
	for _, option := range s.options {
		args = append(args, "-c", option)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		before := len(s.log.String())
		err := s.startOnce(ctx, args)
		if err == nil || !strings.Contains(s.log.String()[before:], "shared memory block") {
			return err
		}
		time.Sleep(100 * time.Millisecond) // the children of the one that was killed have not noticed yet
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
			return fmt.Errorf("PostgreSQL has ended: %s\n%s", p.State(), s.log.String())
		case <-ctx.Done():
			p.Kill()
			return fmt.Errorf("PostgreSQL does not answer\n%s", s.log.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Kill ends the server at once, in the middle of whatever it does. Its processes have gone when Kill returns, or go soon.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.Kill()
	}
}

// Signal is sent to the server's main process.
func (s *Server) Signal(sig os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process.Signal(sig)
}

// Stop ends the server and removes all it had.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.Stop(5 * time.Second)
	}
	// The children of a server that was killed write until they notice.
	for range 50 {
		if os.RemoveAll(s.dir) == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Address of the server: host and port.
func (s *Server) Address() string { return fmt.Sprintf("%s:%d", host, s.port) }

// DSN of a database of the server.
func (s *Server) DSN(database string) string { return DSN(s.Address(), database, "sslmode=disable") }

// DSN of a database at an address: the server's, or that of something in front of it.
func DSN(address, database, query string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(User, Password), Host: address, Path: database, RawQuery: query}
	return u.String()
}

// NewDatabase makes an empty database, and says its name.
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
	defer conn.Close(ctx) //nolint:errcheck // the statements have been executed, or not
	_, err = conn.PgConn().Exec(ctx, statements).ReadAll()
	return err
}

// Value is the one value that a query gives.
func Value[T any](t testing.TB, s *Server, database, query string, args ...any) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // the value has been read, or not
	var value T
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// Dump is everything that a database holds, as pg_dump writes it.
func (s *Server) Dump(t testing.TB, database string) string {
	t.Helper()
	content, err := s.programs.output(s.dir, []string{"PGPASSWORD=" + Password}, "pg_dump", "--inserts", "--host="+host, "--port="+strconv.Itoa(s.port),
		"--username="+User, "--no-password", database)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
