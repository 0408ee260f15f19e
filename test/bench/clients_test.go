package bench

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/oauth-operator/oauth-operator/test/bench/results"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// BenchmarkTenThousandClients is what a server costs that holds 10,000 clients: its memory, the
// time until it is ready, and what one more client costs there, and costs where there are ten.
func BenchmarkTenThousandClients(b *testing.B) {
	const few, many = 10, 10_000
	env := testenv.New(b)
	env.ReadyAPI(ordersAPI, []string{ordersScope})
	c := env.ReadyClient("service", service)
	config := env.Config(c)
	copies := copiesOf(b, env, c)

	held := func(n int) (change, served time.Duration) {
		copies.grow(b, n)
		waitUntilServed(b, env, copies.config(n-1, config))
		time.Sleep(2 * time.Second) // what making them has left behind
		change = costOfChange(b, env, copies)
		return change, timeToServe(b, env, copies, config)
	}
	changeFew, servedFew := held(few)
	changeMany, servedMany := held(many)
	ready, now, highest := measureRestart(b, env, copies, config, many)

	row := func(name, unit string, value, floor, target float64) {
		r := results.Row{Group: sizeRows, Name: name, Unit: unit, Value: value, Floor: floor}
		if floor != 0 {
			r.Ratio = value / floor
		}
		if target != 0 {
			r.Target = atMost(target)
		}
		table.add(b, r)
	}
	row("10,000 clients: memory after a token for each", "MiB", now, 0, 0)
	row("10,000 clients: memory at its highest", "MiB", highest, 0, 150)
	row("10,000 clients: ready after a start", "s", ready.Seconds(), 0, 5)
	row("10,000 clients: one changes, over the same with 10", "µs of CPU", microseconds(changeMany), microseconds(changeFew), 1000)
	row("10,000 clients: one is added, until its first token, over the same with 10", "ms", milliseconds(servedMany), milliseconds(servedFew), 0)
}

// costOfChange is the CPU time of the server for the change of a client.
func costOfChange(b *testing.B, env *testenv.Env, copies *copies) time.Duration {
	b.Helper()
	const changes = 400
	pid, entry := replica(b, env).PID(), copies.entry(0)
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
		copies.grow(b, i+1)
		waitUntilServed(b, env, copies.config(i, config))
		all = append(all, time.Since(began))
	}
	return median(all)
}

// measureRestart returns how long the server takes to be ready with all its clients, and its memory
// when each has got a token, now and at its highest.
func measureRestart(b *testing.B, env *testenv.Env, copies *copies, config *oauth2.Config, n int) (ready time.Duration, now, highest float64) {
	b.Helper()
	ready = timeToReady(b, env)
	var requests [][]byte
	for i := range n {
		requests = append(requests, tokenRequest(env, copies.config(i, config)))
	}
	load(b, hostOf(env.Issuer), n/workers, func(l *connection, worker, i int) error {
		_, err := l.sendExpecting(http.StatusOK, requests[i*workers+worker])
		return err
	})
	now, highest = memoryOf(b, replica(b, env).PID())
	return ready, now, highest
}

// timeToReady is how long the server takes to be ready when it starts again, at the most.
func timeToReady(b *testing.B, env *testenv.Env) time.Duration {
	b.Helper()
	const starts = 3
	var took []time.Duration
	for range starts {
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		err := testenv.Operator.Node.Replicas(env.ServerNamespace, "main")[0].Restart(ctx)
		began := time.Now()
		cancel()
		if err != nil {
			b.Fatal(err)
		}
		eventually.True(b, "the server to be ready", func() bool { return readyz(replica(b, env).Status()) })
		took = append(took, time.Since(began))
	}
	return slices.Max(took)
}
