package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/bench/results"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// BenchmarkTwentyThousandGrants is what live grants cost the cluster that holds them as objects:
// etcd, the API server and the token server.
func BenchmarkTwentyThousandGrants(b *testing.B) {
	const grants = 20_000
	env := testenv.New(b)
	env.ReadyAPI(ordersAPI, []string{ordersScope})
	c := env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"password", "refresh_token"}, TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic, Scopes: []string{ordersScope},
	})
	config := env.Config(c, ordersScope)
	p := &userLoad{env: env, config: config}
	signInByPassword := func(l *connection, worker, _ int) error {
		if worker > 0 {
			return nil
		}
		return p.password(l, worker, config)
	}
	load(b, hostOf(env.Issuer), 1, signInByPassword)
	all := &v1alpha1.OAuthGrantList{}
	if err := testenv.Kube.List(b.Context(), all, client.InNamespace(env.ServerNamespace)); err != nil || len(all.Items) != 1 {
		b.Fatalf("want one grant, got %d (%v)", len(all.Items), err)
	}

	pid := replica(b, env).PID()
	before, _ := memoryOf(b, pid)
	apiBefore, etcdBefore := apiServerHeap(b), apiServerMetric(b, "apiserver_storage_size_bytes")
	// Otherwise the garbage collector deletes them one by one, beside what is measured next.
	b.Cleanup(func() {
		if err := testenv.Kube.DeleteAllOf(context.Background(), &v1alpha1.OAuthGrant{}, client.InNamespace(env.ServerNamespace)); err != nil {
			b.Error(err)
		}
	})
	began := time.Now()
	createAll(b, 0, grants, func(i int) client.Object { return copyOfGrant(&all.Items[0], i) })
	took := time.Since(began)
	time.Sleep(12 * time.Second) // the API server asks etcd for its size every now and then
	after, _ := memoryOf(b, pid)
	apiAfter, etcdAfter := apiServerHeap(b), apiServerMetric(b, "apiserver_storage_size_bytes")
	ready := timeToReady(b, env)

	row := func(name, unit string, value float64, target *results.Target) {
		table.add(b, results.Row{Group: grantRows, Name: name, Unit: unit, Value: value, Target: target})
	}
	row("a grant in Kubernetes: in etcd's file", "bytes", (etcdAfter-etcdBefore)/grants, nil)
	row("a grant in Kubernetes: in the API server's memory", "bytes", (apiAfter-apiBefore)/grants, atMost(12<<10))
	row("a grant in Kubernetes: in the token server's memory", "bytes", (after-before)*(1<<20)/grants, nil)
	row("20,000 grants in Kubernetes: ready after a start", "s", ready.Seconds(), nil)
	row("grants created in Kubernetes", "a second", grants/took.Seconds(), nil)
}

// copyOfGrant is a grant like this one, of a client of its own.
func copyOfGrant(original *v1alpha1.OAuthGrant, i int) *v1alpha1.OAuthGrant {
	g := original.DeepCopy()
	g.ObjectMeta = metav1.ObjectMeta{
		Namespace: original.Namespace, Name: fmt.Sprintf("grant-%040d", i), Labels: g.Labels, OwnerReferences: original.OwnerReferences,
	}
	g.Spec.ID = fmt.Sprintf("%040d", i)
	g.Spec.ClientUID = fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
	g.Labels[v1alpha1.ClientLabel] = fmt.Sprintf("%040d", i)
	return g
}

// apiServerHeap returns what the API server holds in memory, in bytes, after a garbage collection. Its
// resident memory is up to twice that, as with every program in Go, and says more of what it did
// last than of what it holds.
func apiServerHeap(b *testing.B) float64 {
	b.Helper()
	kube, host := apiServer(b)
	for range 2 { // what has a finalizer goes in the second
		response, err := kube.Get(host + "/debug/pprof/heap?gc=1")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil || response.Body.Close() != nil || response.StatusCode != http.StatusOK {
			b.Fatalf("the API server does not collect its garbage: %s, %v", response.Status, err)
		}
	}
	return metricOf(b, kube, host, "go_memstats_heap_alloc_bytes")
}

// apiServerMetric returns the sum of a metric of the API server.
func apiServerMetric(b *testing.B, metric string) float64 {
	b.Helper()
	kube, host := apiServer(b)
	return metricOf(b, kube, host, metric)
}

func apiServer(b *testing.B) (admin *http.Client, host string) {
	b.Helper()
	config := testenv.ControlPlane.AdminConfig()
	admin, err := rest.HTTPClientFor(config)
	if err != nil {
		b.Fatal(err)
	}
	return admin, config.Host
}
