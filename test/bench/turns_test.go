package bench

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/process"
	"github.com/oauth-operator/oauth-operator/test/world"
)

// settle is how long what a load leaves behind is waited for, and counted.
const settle = 200 * time.Millisecond

func tail() string { return world.Logs.Tail(40) }

// target is a process and what it is asked.
type target struct {
	pid     int
	address string
	// turn gives what is to be done in a turn; what that needs is made ready in it, and not counted.
	turn func() step
}

// always the same.
func always(do step) func() step { return func() step { return do } }

// cost is the CPU time for each step, and the time that passed for each.
func (t target) cost(b *testing.B, each int) (cpu, passed time.Duration) {
	b.Helper()
	do := t.turn()
	before, began := cpuOf(b, t.pid), time.Now()
	load(b, t.address, each, do)
	passed = time.Since(began)
	time.Sleep(settle)
	n := time.Duration(each * workers)
	return (cpuOf(b, t.pid) - before) / n, passed / n
}

// turns loads all targets in turns, after one turn that does not count. It gives the costs of each target, by turn.
func turns(b *testing.B, count, each int, targets ...target) [][]time.Duration {
	b.Helper()
	costs := make([][]time.Duration, len(targets))
	for turn := range count + 1 {
		for i, t := range targets {
			if cpu, _ := t.cost(b, each); turn > 0 {
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

// ratio is the median over the turns of what f makes of a turn.
func ratio(count int, f func(turn int) float64) float64 {
	var all []float64
	for turn := range count {
		all = append(all, f(turn))
	}
	return median(all)
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
		Path: floorProgram(b), Args: append([]string{"--listen", address}, args...), Output: &world.Logs,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Stop(5 * time.Second) })
	eventually(b, "the floor", func() bool {
		l, err := dial(address)
		return err == nil && l.Close() == nil
	})
	request := url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}}
	return func(path string) target {
		return target{p.PID(), address, always(same(post(address, path, "Basic YTpi", request)))}
	}
}

func eventually(b *testing.B, what string, done func() bool) {
	b.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("%s did not come\nlogs:\n%s", what, tail())
		}
	}
}

// replica is the one process of a World's token server.
func replica(b *testing.B, w *world.World) interface {
	PID() int
	Status() string
} {
	b.Helper()
	all := world.Operator.Node.Replicas(w.Identity, "main")
	if len(all) != 1 {
		b.Fatalf("want one replica, got %d", len(all))
	}
	return all[0]
}

func readyz(status string) bool {
	response, err := http.Get("http://" + status + "/readyz")
	return err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK
}
