package bench

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/oauth2"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/bench/results"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// BenchmarkSize is what a server costs that holds many clients: its memory, the time until it is
// ready, and what a token, a change and one more client cost there. A server with one client, which
// is asked for tokens by turns, is the floor. CLIENTS=100000 adds so many, and then as many users.
func BenchmarkSize(b *testing.B) {
	one := testenv.New(b)
	floor := sized{name: "1 client", env: one, requests: [][]byte{readyService(b, one)}}
	many := testenv.New(b)
	many.ReadyAPI(ordersAPI, []string{ordersScope})
	c := many.ReadyClient("service", service)
	config := many.Config(c)
	copies := copiesOf(b, many, c)

	floor.changed = costOfChange(b, many, copies.original.DeepCopy())
	floor.served = timeToServe(b, many, copies, config)
	floor.measureStart(b)
	sizes := []int{1000, 10_000}
	large, _ := strconv.Atoi(os.Getenv("CLIENTS"))
	if large > sizes[1] {
		sizes = append(sizes, large)
	}
	for _, n := range sizes {
		copies.grow(b, n)
		waitUntilServed(b, many, copies.config(n-1, config))
		s := sized{name: thousands(n) + " clients", env: many}
		for i := range n {
			s.requests = append(s.requests, tokenRequest(many, copies.config(i, config)))
		}
		settle(b, many)
		s.changed = costOfChange(b, many, copies.entry(0))
		s.served = timeToServe(b, many, copies, config)
		s.measureStart(b)
		s.compare(b, floor)
	}
	if large > sizes[1] {
		copyUsers(b, many, large)
		settle(b, many)
		s := sized{name: thousands(large) + " clients and as many users", env: many}
		s.measureStart(b)
		s.addStart(b)
	}
}

// sized is a server with many clients, each of which one of the requests asks for a token, and what
// was measured of it.
type sized struct {
	name     string
	env      *testenv.Env
	requests [][]byte

	ready           time.Duration
	now, highest    float64 // in MiB
	changed, served time.Duration
}

// targets of a server with so many clients: MiB at the highest, and seconds until it is ready.
var sizeTargets = map[string]struct{ memory, ready float64 }{"10,000 clients": {150, 5}, "100,000 clients": {450, 10}}

func readyService(b *testing.B, env *testenv.Env) []byte {
	b.Helper()
	env.ReadyAPI(ordersAPI, []string{ordersScope})
	return tokenRequest(env, env.Config(env.ReadyClient("service", service)))
}

// measureStart starts the server again, and asks for a token for each client.
func (s *sized) measureStart(b *testing.B) {
	b.Helper()
	s.ready = timeToReady(b, s.env)
	if n := len(s.requests); n > 0 {
		load(b, hostOf(s.env.Issuer), max(1, n/workers), s.ask)
	}
	s.now, s.highest = memoryOf(b, replica(b, s.env).PID())
}

// ask asks for a token for each client in turn.
func (s *sized) ask(l *connection, worker, i int) error {
	_, err := l.sendExpecting(http.StatusOK, s.requests[(i*workers+worker)%len(s.requests)])
	return err
}

func (s *sized) target(b *testing.B) target {
	b.Helper()
	return target{pid: replica(b, s.env).PID(), address: hostOf(s.env.Issuer), prepare: constantly(s.ask)}
}

// compare asks the server and the floor for tokens by turns, and adds the rows.
func (s *sized) compare(b *testing.B, floor sized) {
	b.Helper()
	const count, each = 7, 1500
	s.addStart(b)
	costs := measureAlternately(b, count, each, floor.target(b), s.target(b))
	row := compared(sizeRows, s.name+": a token", costs[1], costs[0], ratios(costs[1], costs[0]))
	row.Target = atMostTimes(1.05)
	table.add(b, row)
	over := func(what, unit string, value, floor, target float64) {
		row := results.Row{Group: sizeRows, Name: s.name + ": " + what, Unit: unit, Value: value, Floor: floor, Ratio: value / floor}
		if target > 0 {
			row.Target = atMost(target)
		}
		table.add(b, row)
	}
	over("one changes", "µs of CPU", microseconds(s.changed), microseconds(floor.changed), 1000)
	over("one is added, until its first token", "ms", milliseconds(s.served), milliseconds(floor.served), 0)
}

// addStart adds the rows of a start.
func (s *sized) addStart(b *testing.B) {
	b.Helper()
	memory := results.Row{Group: sizeRows, Name: s.name + ": memory at its highest", Unit: "MiB", Value: s.highest}
	ready := results.Row{Group: sizeRows, Name: s.name + ": ready after a start", Unit: "s", Value: s.ready.Seconds()}
	if t, ok := sizeTargets[s.name]; ok {
		memory.Target, ready.Target = atMost(t.memory), atMost(t.ready)
	}
	table.add(b, results.Row{Group: sizeRows, Name: s.name + ": memory after the start and a token for each client", Unit: "MiB", Value: s.now})
	table.add(b, memory)
	table.add(b, ready)
}

// settle waits until the server does nothing any more of what creating Entries has caused.
func settle(b *testing.B, env *testenv.Env) {
	b.Helper()
	const quiet = 50 * time.Millisecond
	pid := replica(b, env).PID()
	for {
		before := cpuOf(b, pid)
		time.Sleep(2 * time.Second)
		if cpuOf(b, pid)-before < quiet {
			return
		}
	}
}

// thousands is a number with a comma between its thousands.
func thousands(n int) string { return results.Text(float64(n)) }

// costOfChange is the CPU time of the server for the change of a client.
func costOfChange(b *testing.B, env *testenv.Env, entry *internalv1alpha1.Entry) time.Duration {
	b.Helper()
	const changes = 400
	pid := replica(b, env).PID()
	if err := testenv.Kube.Get(b.Context(), objectKey(entry), entry); err != nil {
		b.Fatal(err)
	}
	document := entry.Spec.Document
	before := cpuOf(b, pid)
	for i := range changes {
		entry.Spec.Document = fmt.Sprintf("%s%*s", document, 1+i%2, "") // the same, one space longer or two
		if err := testenv.Kube.Update(b.Context(), entry); err != nil {
			b.Fatal(err)
		}
	}
	time.Sleep(drainTime)
	return (cpuOf(b, pid) - before) / changes
}

// timeToServe is the median time from the creation of a client's Entry to a token for it.
func timeToServe(b *testing.B, env *testenv.Env, copies *copies, config *oauth2.Config) time.Duration {
	b.Helper()
	const clients = 50
	var all []time.Duration
	for range clients {
		i := copies.made
		began := time.Now()
		if err := testenv.Kube.Create(b.Context(), copies.entry(i)); err != nil {
			b.Fatal(err)
		}
		copies.made++
		waitUntilServed(b, env, copies.config(i, config))
		all = append(all, time.Since(began))
	}
	return median(all)
}

// timeToReady is how long the server takes to be ready when it starts again, at the most.
func timeToReady(b *testing.B, env *testenv.Env) time.Duration {
	b.Helper()
	const starts = 3
	var took []time.Duration
	for range starts {
		ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
		err := testenv.Operator.Node.Replicas(env.ServerNamespace, "main")[0].Restart(ctx)
		began := time.Now()
		cancel()
		if err != nil {
			b.Fatal(err)
		}
		eventually.Within(b, 5*time.Minute, "the server to be ready", func() (bool, string) { return readyz(replica(b, env).Status()), "" })
		took = append(took, time.Since(began))
	}
	return slices.Max(took)
}
