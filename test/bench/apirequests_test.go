package bench

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// apiRequests are how many requests the API server has answered, by the verb and the resource of
// each, such as "POST secrets" or "PATCH oauthclients/status". Those of a dry run, which stores
// nothing, are counted as "POST secrets (dry run)".
type apiRequests map[string]float64

// apiServerMetrics reads the metrics of the API server.
func apiServerMetrics(b *testing.B) map[string]*dto.MetricFamily {
	b.Helper()
	api, err := discovery.NewDiscoveryClientForConfig(testenv.ControlPlane.AdminConfig())
	if err != nil {
		b.Fatal(err)
	}
	text, err := api.RESTClient().Get().AbsPath("/metrics").Do(b.Context()).Raw()
	if err != nil {
		b.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		b.Fatal(err)
	}
	return families
}

// apiServerCPU returns the CPU time of the API server since it started.
func apiServerCPU(b *testing.B) time.Duration {
	b.Helper()
	seconds := apiServerMetrics(b)["process_cpu_seconds_total"].GetMetric()[0].GetCounter().GetValue()
	return time.Duration(seconds * float64(time.Second))
}

// settleAPIServer waits until the API server has all OAuthClients, Entries and Secrets in memory, as one
// has that has been running for a while. One that has started reads those of a kind when they are first
// asked for, and reads them once more for who asks meanwhile.
func settleAPIServer(b *testing.B) {
	b.Helper()
	for _, list := range []client.ObjectList{&v1alpha1.OAuthClientList{}, &internalv1alpha1.EntryList{}, &corev1.SecretList{}} {
		fromMemory := &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: "0", FieldSelector: "metadata.name=none"}}
		eventually.Within(b, 10*time.Minute, "the API server has all in memory", func() (bool, string) {
			err := testenv.Kube.List(b.Context(), list, fromMemory)
			return err == nil, fmt.Sprint(err) // an error says that it has not
		})
	}
	const interval, little = 5 * time.Second, time.Second
	for before := apiServerCPU(b); ; {
		time.Sleep(interval)
		now := apiServerCPU(b)
		if now-before < little {
			return
		}
		before = now
	}
}

// countAPIRequests reads what the API server has counted since it started. It counts the requests
// of all programs.
func countAPIRequests(b *testing.B) apiRequests {
	b.Helper()
	counted := apiRequests{}
	for _, m := range apiServerMetrics(b)["apiserver_request_total"].GetMetric() {
		labels := labelsOf(m)
		if labels["resource"] == "" {
			continue
		}
		what := labels["verb"] + " " + strings.TrimSuffix(labels["resource"]+"/"+labels["subresource"], "/")
		if labels["dry_run"] != "" {
			what += " (dry run)"
		}
		counted[what] += m.GetCounter().GetValue()
	}
	return counted
}

func labelsOf(m *dto.Metric) map[string]string {
	labels := map[string]string{}
	for _, pair := range m.GetLabel() {
		labels[pair.GetName()] = pair.GetValue()
	}
	return labels
}

// since returns the requests that were answered after others had been counted.
func (r apiRequests) since(before apiRequests) apiRequests {
	after := apiRequests{}
	for what, n := range r {
		if n > before[what] {
			after[what] = n - before[what]
		}
	}
	return after
}

// isStored reports whether a request stored something.
func isStored(what string) bool {
	verb, _, _ := strings.Cut(what, " ")
	return slices.Contains([]string{"POST", "PUT", "PATCH", "APPLY", "DELETE"}, verb) && !strings.HasSuffix(what, "(dry run)")
}

// writes returns how many of the requests stored something, except some.
func (r apiRequests) writes(except ...string) (n float64) {
	for what, made := range r {
		if isStored(what) && !slices.Contains(except, what) {
			n += made
		}
	}
	return n
}

// writesOf returns how many of the requests stored some resources.
func (r apiRequests) writesOf(resources ...string) (n float64) {
	for what, made := range r {
		if _, resource, _ := strings.Cut(what, " "); isStored(what) && slices.Contains(resources, resource) {
			n += made
		}
	}
	return n
}

// perObject says how many requests of each kind there were for each of n objects.
func (r apiRequests) perObject(n int) string {
	var list []string
	for _, what := range slices.Sorted(maps.Keys(r)) {
		if each := r[what] / float64(n); each >= 0.005 {
			list = append(list, fmt.Sprintf("%.2f %s", each, what))
		}
	}
	return strings.Join(list, ", ")
}
