package postgrestest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// StartStandby copies the server and starts the copy as its streaming standby, which is stopped after
// the test. The name is that of synchronous_standby_names. Options are settings of the standby.
func (s *Server) StartStandby(t testing.TB, name string, options ...string) *Server {
	t.Helper()
	standby := &Server{programs: s.programs, options: options}
	var err error
	if standby.dir, err = os.MkdirTemp("", "postgrestest-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Stop)
	if err := standby.programs.changeOwner(standby.dir); err != nil {
		t.Fatal(err)
	}
	primary := fmt.Sprintf("host=%s port=%d user=%s password='%s' application_name=%s", host, s.port, User, Password, name)
	if err := standby.programs.run(standby.dir, "pg_basebackup", "--pgdata="+standby.dataDir(), "--dbname="+primary, "--write-recovery-conf",
		"--wal-method=stream", "--checkpoint=fast", "--no-sync"); err != nil {
		t.Fatal(err)
	}
	if err := standby.startOnFreePort(); err != nil {
		t.Fatal(err)
	}
	return standby
}

// Promote makes a standby a primary. It returns when the server accepts writes.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	if !QueryValue[bool](t, s, "postgres", "SELECT pg_promote()") {
		t.Fatalf("the standby was not promoted in time\n%s", s.log.String())
	}
}

// HostsDSN returns the DSN of a database that one of several servers has, whichever is the primary.
func HostsDSN(database, query string, addresses ...string) string {
	return strings.Replace(DSN(addresses[0], database, query), addresses[0], strings.Join(addresses, ","), 1)
}

// Port returns the port of the server.
func (s *Server) Port() string { return strconv.Itoa(s.port) }
