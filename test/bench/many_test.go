package bench

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/bench/results"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// manyClients is how many OAuthClients are applied at once: as many as CLIENTS says, for what takes
// long.
func manyClients(b *testing.B) int {
	b.Helper()
	return sizeFrom(b, "CLIENTS", 1000, 1)
}

// sizeFrom returns the number that an environment variable has, or otherwise the usual one.
func sizeFrom(b *testing.B, variable string, usual, least int) int {
	b.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least {
		b.Fatalf("%s is %q, and not a number of at least %d", variable, text, least)
	}
	return n
}

// BenchmarkManyClients is what OAuthClients cost that are applied at once: the time until all are
// Ready, against a program that makes the same writes as the manager on as many connections; the
// manager's CPU time, and how often it writes. And what a manager costs that starts again with them.
func BenchmarkManyClients(b *testing.B) {
	n := manyClients(b)
	env := testenv.New(b)
	env.ReadyAPI(ordersAPI, []string{ordersScope})
	env.ReadyClient("service", service)
	waitUntilIdle(b)
	before, pid := countAPIRequests(b), testenv.Operator.Manager.PID()
	cpu, began := cpuOf(b, pid), time.Now()
	wait := untilReady(b, env.AppNamespace, n)
	createAll(b, 0, n, func(i int) client.Object { return newClientIn(env.AppNamespace, env, i) })
	wait()
	ready := time.Since(began)
	waitUntilIdle(b)
	cpu = (cpuOf(b, pid) - cpu) / time.Duration(n)
	made := countAPIRequests(b).since(before)
	writes := made.writes("POST oauthclients") / float64(n)
	b.Logf("for each client: %v", made.perObject(n))

	measureManagerRestart(b, n)
	floor := timeOfWrites(b, env, n)
	name := fmt.Sprintf("%d OAuthClients are applied at once", n)
	table.add(b, results.Row{
		Group: managerRows, Name: name + ", until all are Ready", Unit: "s",
		Value: ready.Seconds(), Floor: floor.Seconds(), Ratio: ready.Seconds() / floor.Seconds(), Target: atMostTimes(1.3),
	})
	table.add(b, results.Row{Group: managerRows, Name: name + ": the manager", Unit: "ms of CPU each", Value: milliseconds(cpu), Target: atMost(4)})
	table.add(b, results.Row{Group: managerRows, Name: name + ": stored", Unit: "API writes each", Value: writes, Target: atMost(5)})
}

// BenchmarkManagerSize is what a manager costs that starts with 10,000 OAuthClients, or as many as
// CLIENTS says, and then has one to change. They are written into etcd (clientcopies_test.go), so the
// API server and the token server have them as if the manager had made each.
func BenchmarkManagerSize(b *testing.B) {
	n := manyClients(b)
	if os.Getenv("CLIENTS") == "" {
		n = 10_000
	}
	changes := min(400, n)
	env := testenv.New(b)
	env.ReadyAPI(ordersAPI, []string{ordersScope})
	env.ReadyClient("service", service)
	waitUntilIdle(b)
	pauseManager(b)
	copies := clientCopiesOf(b, env, "service")
	pauseGarbageCollector(b)
	copies.put(b, n)
	settle(b, env)
	settleAPIServer(b)
	b.Setenv("GOMEMLIMIT", "921MiB") // as in a container of 1 GiB; no API server starts until it is unset
	measureManagerRestart(b, n)

	pid := testenv.Operator.Manager.PID()
	cpu := cpuOf(b, pid)
	for i := range changes {
		c := copies.copyOfClient(i)
		if err := testenv.Kube.Patch(b.Context(), c, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"displayName":"changed"}}`))); err != nil {
			b.Fatal(err)
		}
	}
	waitUntilIdle(b)
	cpu = (cpuOf(b, pid) - cpu) / time.Duration(changes)
	now, _ := memoryOf(b, pid)
	table.add(b, results.Row{
		Group: managerRows, Name: fmt.Sprintf("one of %s OAuthClients changes: the manager", thousands(n)), Unit: "ms of CPU",
		Value: milliseconds(cpu), Target: atMost(1),
	})
	table.add(b, results.Row{Group: managerRows, Name: fmt.Sprintf("the manager with %s OAuthClients: memory then", thousands(n)), Unit: "MiB", Value: now})
}

// measureManagerRestart adds the rows of a manager that starts when n clients are Ready, after the
// one before was killed.
func measureManagerRestart(b *testing.B, n int) {
	b.Helper()
	before, cpuBefore, began, old := countAPIRequests(b), apiServerCPU(b), time.Now(), testenv.Operator.Manager.PID()
	if err := testenv.Operator.Manager.Signal(syscall.SIGKILL); err != nil {
		b.Fatal(err)
	}
	eventually.True(b, "another manager is started", func() bool {
		pid := testenv.Operator.Manager.PID()
		return pid != 0 && pid != old
	})
	waitUntilReady(b) // before, it may do nothing because the API server takes its time
	done := waitUntilIdle(b).Sub(began)
	cpu := cpuOf(b, testenv.Operator.Manager.PID())
	made := countAPIRequests(b).since(before)
	_, highest := memoryOf(b, testenv.Operator.Manager.PID())
	b.Logf("%v of CPU, and %v of the API server", cpu, apiServerCPU(b)-cpuBefore)
	name := fmt.Sprintf("the manager starts again with %d OAuthClients", n)
	b.Logf("%s: it asked for %v", name, made)
	table.add(b, results.Row{Group: managerRows, Name: name + ", until it has seen to all", Unit: "s", Value: done.Seconds(), Target: atMost(60)})
	table.add(b, results.Row{Group: managerRows, Name: name + ": memory at its highest", Unit: "MiB", Value: highest, Target: atMost(1024)})
	table.add(b, results.Row{
		Group: managerRows, Name: name + ": writes of clients, Secrets, Entries and events", Unit: "API writes",
		Value: made.writesOf("oauthclients/status", "secrets", "entries", "events"),
	})
}

// waitUntilReady returns when the manager has filled its caches.
func waitUntilReady(b *testing.B) {
	b.Helper()
	for b.Context().Err() == nil {
		response, err := http.Get("http://" + testenv.Operator.Manager.Health() + "/readyz") //nolint:noctx // it ends with the manager
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// waitUntilIdle returns when the manager began to do nothing.
func waitUntilIdle(b *testing.B) time.Time {
	b.Helper()
	const idle, interval = 2 * time.Second, 200 * time.Millisecond
	pid, since := testenv.Operator.Manager.PID(), time.Now()
	for last := cpuOf(b, pid); time.Since(since) < idle; {
		time.Sleep(interval)
		now := cpuOf(b, pid)
		if now-last > interval/20 {
			since = time.Now()
		}
		last = now
	}
	return since
}

// pauseGarbageCollector has Kubernetes' garbage collector do nothing until the benchmark ends. It asks
// for the owner of each Secret that it sees before the owner: a hundred thousand that appear at once take
// it minutes, in which the manager would have a part of the API server.
func pauseGarbageCollector(b *testing.B) {
	b.Helper()
	resume, err := testenv.ControlPlane.PauseController()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := resume(); err != nil {
			b.Error(err)
		}
	})
}

func newClientIn(namespace string, env *testenv.Env, i int) *v1alpha1.OAuthClient {
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("many-%d", i)}, Spec: service}
	c.Spec.ServerRef = v1alpha1.ServerReference{Name: "main", Namespace: env.ServerNamespace}
	return c
}

// untilReady returns a function that waits until n OAuthClients of the namespace have been Ready. They
// are counted from now on, whatever the caller does meanwhile: the API server ends the watch of who
// does not read it.
func untilReady(b *testing.B, namespace string, n int) (wait func()) {
	b.Helper()
	kube, err := client.NewWithWatch(testenv.ControlPlane.AdminConfig(), client.Options{Scheme: testenv.Kube.Scheme()})
	if err != nil {
		b.Fatal(err)
	}
	var before v1alpha1.OAuthClientList
	if err := kube.List(b.Context(), &before, client.InNamespace(namespace)); err != nil {
		b.Fatal(err)
	}
	watchFrom := func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		return kube.Watch(ctx, &v1alpha1.OAuthClientList{}, client.InNamespace(namespace), &client.ListOptions{Raw: &o})
	}
	events, err := watchtools.NewRetryWatcherWithContext(b.Context(), before.ResourceVersion, &cache.ListWatch{WatchFuncWithContext: watchFrom})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(events.Stop)
	counted := make(chan int, 1)
	go func() { counted <- countReady(events.ResultChan(), n) }()
	return func() {
		select {
		case got := <-counted:
			if got < n {
				b.Fatalf("the watch ended when %d of %d OAuthClients were Ready", got, n)
			}
		case <-time.After(30 * time.Minute):
			b.Fatalf("%d OAuthClients are not Ready after half an hour", n)
		}
	}
}

// countReady counts the OAuthClients that have been Ready, up to n.
func countReady(events <-chan watch.Event, n int) int {
	ready := map[string]bool{}
	for e := range events {
		if c, ok := e.Object.(*v1alpha1.OAuthClient); ok && testenv.IsTrue(c.Status.Conditions, v1alpha1.ConditionReady) {
			ready[c.Name] = true
		}
		if len(ready) == n {
			break
		}
	}
	return len(ready)
}
