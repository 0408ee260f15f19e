// Package bench measures what the product costs. The unit is the CPU time of the server's process,
// user and system, for each request of a counted load: unlike throughput it means something on a
// machine that others use too. Where there is a floor (test/bench/floor), both are loaded
// alternately within one run, and the ratio is the median over the rounds.
//
//	main_test.go     what all benchmarks share
//	rows_test.go     the rows: printed at the end, and written to the file that RESULTS names
//	machine_test.go  which machine and which commit it is
//	process_*_test.go  a process: its CPU time and memory
//	load_test.go     a counted load on connections that are kept
//	steady_test.go   a load at a constant rate, and how long each request takes; ticker_*_test.go has its pace
//	metric_test.go   a metric of a program
//	frame_test.go    tests of the frame itself
//	measure_test.go  the server and its floor, alternately
//	copies_test.go   many clients and users, without waiting for the manager to make each
//	etcd_test.go     their Entries, written where the API server has them
//
//	token_test.go    a client_credentials token
//	endpoints_test.go  introspection, the public documents, requests that are refused
//	signing_test.go  the same, signed with RS256
//	clientauth_test.go  the same, for clients that authenticate by a JWT
//	pages_test.go    browsers: the login page, passwords, guesses
//	clients_test.go  a server that holds up to 10,000 clients, or as many as CLIENTS says
//	apply_test.go    from an applied OAuthClient to a working token, idle and in a crowd
//	many_test.go     many OAuthClients at once, and a manager that starts again with them
//	clientcopies_test.go  many OAuthClients with what the manager writes for each, without waiting for it
//	writes_test.go   the floor of that: the same writes without a manager
//	apirequests_test.go  what the API server was asked
//	grants_test.go   what live grants cost the cluster that holds them
//	grants_postgres_test.go  what 200,000 of them, or as many as GRANTS says, cost a database
//	tails_test.go    how long a token takes at half of the capacity
//	soak_test.go     what grows under full load, for as long as -soak says; sampling_test.go samples it
//	peers_test.go    other servers, side by side; with the build tags peers and postgres, as peer_*_test.go
//	storage_test.go  redeeming a code and refreshing, on each backend; PostgreSQL with the build tag postgres
//
// Benchmarks report; no number makes one fail. Each measures a fixed amount of work, so that one
// iteration (-benchtime 1x) is all it takes.
package bench

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() == "" {
		os.Exit(m.Run()) // nothing to measure, nothing to start
	}
	// etcd waits for the disk, as it does in production.
	status := testenv.Main(m, testenv.Options{})
	if floor.dir != "" {
		_ = os.RemoveAll(floor.dir)
	}
	if err := table.finish(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		status = 1
	}
	os.Exit(status)
}

// floor is the program that the server is measured against, built once.
var floor struct {
	once sync.Once
	dir  string
	err  error
}

func floorProgram(b *testing.B) string {
	b.Helper()
	floor.once.Do(func() {
		var root string
		if root, floor.err = controlplane.Root(); floor.err != nil {
			return
		}
		if floor.dir, floor.err = os.MkdirTemp("", "floor"); floor.err != nil {
			return
		}
		build := exec.Command("go", "build", "-buildvcs=false", "-o", floor.dir+string(filepath.Separator), "./test/bench/floor")
		build.Dir = root
		if output, err := build.CombinedOutput(); err != nil {
			floor.err = fmt.Errorf("building the floor: %w\n%s", err, output)
		}
	})
	if floor.err != nil {
		b.Fatal(floor.err)
	}
	return filepath.Join(floor.dir, "floor")
}
