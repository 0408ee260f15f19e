package callback

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// The results that are no oidc.Reason.
const (
	resultSuccess   = "Success"
	resultDenied    = "Denied"
	resultOtherUser = "OtherUser"
	resultFull      = "Full"
	resultTooOften  = "TooOften"
	resultError     = "Error"
)

// Metrics counts sign-ins. A nil *Metrics counts nothing.
type Metrics struct {
	registry *registry.Registry
	signIns  *prometheus.CounterVec
}

// NewMetrics returns counters that are registered. Each OpenID provider has one from the beginning, so
// that an alert sees its first increase.
func NewMetrics(registerer prometheus.Registerer, reg *registry.Registry) (*Metrics, error) {
	m := &Metrics{registry: reg, signIns: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "oauth_operator", Subsystem: "tokenserver", Name: "provider_sign_ins_total",
		Help: "Users who came back from an OpenID provider, by identity provider and by result: Success, or why the user did not sign in.",
	}, []string{"provider", "result"})}
	return m, registerer.Register(m)
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descriptions chan<- *prometheus.Desc) { m.signIns.Describe(descriptions) }

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(collected chan<- prometheus.Metric) {
	for _, p := range m.registry.IdentityProviders() {
		if p.Type != documents.ProviderLDAP { // one that is not accepted has no type
			m.signIns.WithLabelValues(p.Name, resultSuccess)
		}
	}
	m.signIns.Collect(collected)
}

func (m *Metrics) count(provider, result string) {
	if m != nil {
		m.signIns.WithLabelValues(provider, result).Inc()
	}
}
