package ldap

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
)

// The results that are no Reason.
const (
	resultSuccess   = "Success"
	resultWrong     = "Wrong"
	resultDenied    = "Denied"
	resultThrottled = "Throttled"
	resultBusy      = "Busy"
	resultError     = "Error"
)

// Metrics counts sign-ins. A nil *Metrics counts nothing.
type Metrics struct {
	registry *registry.Registry
	signIns  *prometheus.CounterVec
	undated  *prometheus.CounterVec
}

// NewMetrics returns counters that are registered. Each directory has one from the beginning, so that
// an alert sees its first increase.
func NewMetrics(registerer prometheus.Registerer, reg *registry.Registry) (*Metrics, error) {
	const namespace, subsystem = "oauth_operator", "tokenserver"
	m := &Metrics{
		registry: reg,
		signIns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "directory_sign_ins_total",
			Help: "Passwords that were typed for a directory, by identity provider and by result: Success, or why the user did not sign in.",
		}, []string{"provider", "result"}),
		undated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "directory_entries_without_password_time_total",
			Help: "Answers about a user that have no passwordChangedAttribute, so that another password ends nothing, by identity provider.",
		}, []string{"provider"}),
	}
	return m, registerer.Register(m)
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descriptions chan<- *prometheus.Desc) {
	m.signIns.Describe(descriptions)
	m.undated.Describe(descriptions)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(collected chan<- prometheus.Metric) {
	for _, p := range m.registry.IdentityProviders() {
		if p.Type != documents.ProviderOIDC { // one that is not accepted has no type
			m.signIns.WithLabelValues(p.Name, resultSuccess)
			m.undated.WithLabelValues(p.Name)
		}
	}
	m.signIns.Collect(collected)
	m.undated.Collect(collected)
}

func (m *Metrics) count(provider string, err error) {
	if m != nil {
		m.signIns.WithLabelValues(provider, resultOf(err)).Inc()
	}
}

// countUndated counts an entry that does not say when its password was changed.
func (m *Metrics) countUndated(provider string) {
	if m != nil {
		m.undated.WithLabelValues(provider).Inc()
	}
}

func resultOf(err error) string {
	var failed *Error
	var refused *throttle.RefusedError
	switch {
	case err == nil:
		return resultSuccess
	case errors.Is(err, ErrDenied):
		return resultDenied
	case errors.Is(err, ErrWrong):
		return resultWrong
	case errors.As(err, &refused):
		return resultThrottled
	case errors.Is(err, ErrBusy):
		return resultBusy
	case errors.As(err, &failed):
		return string(failed.Reason)
	default:
		return resultError
	}
}
