package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/process"
)

// Pooler is a PgBouncer that pools the connections to a server by transaction.
type Pooler struct {
	port int
	log  serverLog
}

// StartPooler starts a PgBouncer in front of the server, and stops it after the test. Settings are
// lines of the section [pgbouncer], such as "default_pool_size = 2".
func StartPooler(t testing.TB, s *Server, settings ...string) *Pooler {
	t.Helper()
	program, err := findPgBouncer()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "postgrestest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &Pooler{}
	if p.port, err = loopback.FreePort(host); err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(dir, "users")
	config := fmt.Sprintf("[databases]\n* = host=%s port=%d\n[pgbouncer]\nlisten_addr = %s\nlisten_port = %d\nunix_socket_dir =\n"+
		"auth_type = scram-sha-256\nauth_file = %s\npool_mode = transaction\n%s\n", host, s.port, host, p.port, users, strings.Join(settings, "\n"))
	for file, content := range map[string]string{users: fmt.Sprintf("%q %q\n", User, Password), filepath.Join(dir, "pgbouncer.ini"): config} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{dir, users, filepath.Join(dir, "pgbouncer.ini")} {
		if err := s.programs.changeOwner(file); err != nil {
			t.Fatal(err)
		}
	}
	started, err := process.Start(process.Command{
		Path: program, Args: []string{filepath.Join(dir, "pgbouncer.ini")}, Dir: dir, Output: &p.log, Credential: s.programs.credential,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { started.Stop(5 * time.Second) })
	if err := p.wait(t.Context(), started); err != nil {
		t.Fatalf("%v\n%s", err, p.log.String())
	}
	return p
}

// findPgBouncer looks in PATH, and then where Debian puts it.
func findPgBouncer() (string, error) {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("pgbouncer is neither in PATH nor in /usr/sbin: install the package pgbouncer")
}

// wait waits until the pooler answers.
func (p *Pooler) wait(ctx context.Context, started *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, p.DSN("postgres", ""))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-started.Done():
			return errors.New("PgBouncer has exited")
		case <-ctx.Done():
			return fmt.Errorf("PgBouncer does not answer: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Address returns the host and port of the pooler.
func (p *Pooler) Address() string { return net.JoinHostPort(host, strconv.Itoa(p.port)) }

// DSN returns the DSN of a database behind the pooler. The query begins with "&", or is empty.
func (p *Pooler) DSN(database, query string) string {
	return DSN(p.Address(), database, "sslmode=disable"+query)
}
