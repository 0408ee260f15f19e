package bench

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
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
	apiBefore, etcdBefore := apiServerMetric(b, "process_resident_memory_bytes"), apiServerMetric(b, "apiserver_storage_size_bytes")
	began := time.Now()
	createAll(b, 0, grants, func(i int) client.Object { return copyOfGrant(&all.Items[0], i) })
	took := time.Since(began)
	time.Sleep(12 * time.Second) // the API server asks etcd for its size every now and then
	after, _ := memoryOf(b, pid)
	apiAfter, etcdAfter := apiServerMetric(b, "process_resident_memory_bytes"), apiServerMetric(b, "apiserver_storage_size_bytes")
	ready := timeToReady(b, env)

	b.ReportMetric(0, "ns/op")
	b.ReportMetric((etcdAfter-etcdBefore)/grants, "bytes-etcd/grant")
	b.ReportMetric((apiAfter-apiBefore)/grants, "bytes-API-server/grant")
	b.ReportMetric((after-before)*(1<<20)/grants, "bytes/grant")
	b.ReportMetric(ready.Seconds(), "s-ready")
	b.ReportMetric(grants/took.Seconds(), "creates/s")
	table.add("20,000 grants in Kubernetes", fmt.Sprintf("%.0f MiB in etcd, %.0f MiB more of the API server's memory, %.0f MiB more of the token server's",
		(etcdAfter-etcdBefore)/(1<<20), (apiAfter-apiBefore)/(1<<20), after-before), "")
	table.add("20,000 grants: ready", fmt.Sprintf("%.1f s", ready.Seconds()), "")
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

// apiServerMetric returns the sum of a metric of the API server.
func apiServerMetric(b *testing.B, metric string) (sum float64) {
	b.Helper()
	config := testenv.ControlPlane.AdminConfig()
	kube, err := rest.HTTPClientFor(config)
	if err != nil {
		b.Fatal(err)
	}
	response, err := kube.Get(config.Host + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		b.Fatalf("the API server's metrics are answered %s: %s", response.Status, text)
	}
	found := false
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if name, _, _ = strings.Cut(name, "{"); name != metric {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(value, &v); err != nil {
			b.Fatal(err)
		}
		sum, found = sum+v, true
	}
	if !found {
		b.Fatalf("the API server has no metric %s", metric)
	}
	return sum
}
