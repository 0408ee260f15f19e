package controllers

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// objectMetrics counts what the cache holds at the time of a scrape, so that no number can drift. Its labels come from fixed sets.
type objectMetrics struct {
	reader  client.Reader
	objects *prometheus.Desc
	legacy  *prometheus.Desc
}

func registerMetrics(op *operator) error {
	return metrics.Registry.Register(&objectMetrics{
		reader: op.Client,
		objects: prometheus.NewDesc("oauth_operator_objects", "Objects by kind and by the status of their condition Ready.",
			[]string{"kind", "ready"}, nil),
		legacy: prometheus.NewDesc("oauth_operator_legacy_grant_clients", "OAuthClients by a grant type that RFC 9700 advises against.",
			[]string{"grant_type"}, nil),
	})
}

// Describe implements prometheus.Collector.
func (m *objectMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.objects
	out <- m.legacy
}

// Collect implements prometheus.Collector. What cannot be read from the cache is left out.
func (m *objectMetrics) Collect(out chan<- prometheus.Metric) {
	byGrant := map[string]int{string(v1alpha1.GrantTypeImplicit): 0, string(v1alpha1.GrantTypePassword): 0}
	for kind, list := range map[string]client.ObjectList{
		kindServer: &v1alpha1.AuthorizationServerList{}, kindClient: &v1alpha1.OAuthClientList{},
		kindUser: &v1alpha1.OAuthUserList{}, kindResourceServer: &v1alpha1.ResourceServerList{},
	} {
		byReady := map[metav1.ConditionStatus]int{}
		err := m.reader.List(context.Background(), list, client.UnsafeDisableDeepCopy)
		if err == nil {
			err = meta.EachListItem(list, func(object runtime.Object) error {
				byReady[readyStatus(object)]++
				if c, ok := object.(*v1alpha1.OAuthClient); ok {
					for _, grant := range compile.LegacyGrants(c) {
						byGrant[grant]++
					}
				}
				return nil
			})
		}
		if err == nil {
			m.count(out, kind, byReady)
		}
	}
	for grant, n := range byGrant {
		out <- prometheus.MustNewConstMetric(m.legacy, prometheus.GaugeValue, float64(n), grant)
	}
}

func (m *objectMetrics) count(out chan<- prometheus.Metric, kind string, byReady map[metav1.ConditionStatus]int) {
	for _, status := range []metav1.ConditionStatus{metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown} {
		out <- prometheus.MustNewConstMetric(m.objects, prometheus.GaugeValue, float64(byReady[status]), kind, string(status))
	}
}

func readyStatus(object runtime.Object) metav1.ConditionStatus {
	if c := meta.FindStatusCondition(conditionsOf(object), v1alpha1.ConditionReady); c != nil {
		return c.Status
	}
	return metav1.ConditionUnknown
}
