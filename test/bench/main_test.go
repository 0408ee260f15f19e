// Package bench measures what the product costs. The unit is the CPU time of the server's process,
// user and system, for each request of a counted load: unlike throughput it means something on a
// machine that others use too. Where there is a floor (test/bench/floor), both are loaded
// alternately within one run, and the ratio is the median over the rounds.
//
//	main_test.go     what all benchmarks share; the table at the end
//	process_*_test.go  a process: its CPU time and memory
//	load_test.go     a counted load on connections that are kept
//	measure_test.go  the server and its floor, alternately
//	copies_test.go   many clients, without waiting for the manager to make each
//
//	token_test.go    a client_credentials token
//	clients_test.go  a server that holds 10,000 clients
//	apply_test.go    from an applied OAuthClient to a working token
//	grants_test.go   what live grants cost the cluster that holds them
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
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

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
	table.print()
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

// rows are what is printed at the end, for people.
type rows struct {
	mu    sync.Mutex
	lines []string
}

var table rows

// add a row: what was measured, how much it was, and what it should be.
func (t *rows) add(what, measured, wanted string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, what+"\t"+measured+"\t"+wanted)
}

func (t *rows) print() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == 0 {
		return
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "\nwhat\tmeasured\twanted\n%s\n\n", strings.Join(t.lines, "\n"))
	_ = w.Flush()
}
