package users

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// Metrics counts what mappings cannot make of users. A nil *Metrics counts nothing.
type Metrics struct {
	registry    *registry.Registry
	claimErrors *prometheus.CounterVec
}

// NewMetrics returns counters that are registered.
func NewMetrics(registerer prometheus.Registerer, reg *registry.Registry) (*Metrics, error) {
	m := &Metrics{registry: reg, claimErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "oauth_operator", Subsystem: "tokenserver", Name: "claim_errors_total",
		Help: "Claims about users, or parts of them, that were left out at a sign-in because their mapping failed, by identity provider.",
	}, []string{"provider"})}
	return m, registerer.Register(m)
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descriptions chan<- *prometheus.Desc) {
	m.claimErrors.Describe(descriptions)
}

// Collect implements prometheus.Collector. The counter of a provider is there before the first error,
// so that a rate has something to begin with.
func (m *Metrics) Collect(collected chan<- prometheus.Metric) {
	for _, p := range m.registry.IdentityProviders() {
		m.claimErrors.WithLabelValues(p.Name)
	}
	m.claimErrors.Collect(collected)
}

func (m *Metrics) countClaimErrors(provider string, n int) {
	if m != nil && n > 0 {
		m.claimErrors.WithLabelValues(provider).Add(float64(n))
	}
}
