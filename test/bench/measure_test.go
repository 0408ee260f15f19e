package bench

import (
	"cmp"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/process"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// drainTime is how long the work that a load leaves behind is waited for, and counted.
const drainTime = 200 * time.Millisecond

func tail() string { return testenv.Logs.LastLines(40) }

// target is a process and what it is asked.
type target struct {
	pid     int
	address string
	// prepare returns the steps of a round. The cost of what it does itself is not counted.
	prepare func() step
	// connections that it is asked on; 0 is as many as there are workers.
	connections int
}

// on is the target, asked on so many connections.
func (t target) on(connections int) target {
	t.connections = connections
	return t
}

// constantly returns a prepare function for the same step in every round.
func constantly(do step) func() step { return func() step { return do } }

// cost is the CPU time for each of so many steps on each connection, and the time that passed for
// each.
func (t target) cost(b *testing.B, each int) (cpu, passed time.Duration) {
	b.Helper()
	do := t.prepare()
	connections := cmp.Or(t.connections, workers)
	before, began := cpuOf(b, t.pid), time.Now()
	onConnections(b, t.address, connections, func(l *connection, worker int) error { return times(each, l, worker, do) })
	passed = time.Since(began)
	time.Sleep(drainTime)
	n := time.Duration(each * connections)
	return (cpuOf(b, t.pid) - before) / n, passed / n
}

// measureAlternately loads the targets alternately, after a first round that does not count. It
// returns the costs of each target, by round.
func measureAlternately(b *testing.B, count, each int, targets ...target) [][]time.Duration {
	b.Helper()
	costs := make([][]time.Duration, len(targets))
	for round := range count + 1 {
		for i, t := range targets {
			if cpu, _ := t.cost(b, each); round > 0 {
				costs[i] = append(costs[i], cpu)
			}
		}
	}
	return costs
}

func median[T ~int64 | ~float64](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// startFloor runs the floor until the benchmark ends, and gives a target for a path of it.
func startFloor(b *testing.B, args ...string) func(path string) target {
	b.Helper()
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		b.Fatal(err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	p, err := process.Start(process.Command{
		Path: floorProgram(b), Args: append([]string{"--listen", address}, args...), Output: &testenv.Logs,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Stop(5 * time.Second) })
	eventually.True(b, "the floor", func() bool {
		l, err := dial(address)
		return err == nil && l.Close() == nil
	})
	request := url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}}
	return func(path string) target {
		return target{pid: p.PID(), address: address, prepare: constantly(repeat(post(address, path, "Basic YTpi", request)))}
	}
}

// replica is the one process of an Env's token server.
func replica(b *testing.B, env *testenv.Env) interface {
	PID() int
	Status() string
} {
	b.Helper()
	all := testenv.Operator.Node.Replicas(env.ServerNamespace, "main")
	if len(all) != 1 {
		b.Fatalf("want one replica, got %d", len(all))
	}
	return all[0]
}

func readyz(status string) bool {
	response, err := http.Get("http://" + status + "/readyz")
	return err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK
}
