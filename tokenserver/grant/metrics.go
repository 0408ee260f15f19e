package grant

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Metrics counts what happens to grants. A nil *Metrics counts nothing.
type Metrics struct {
	grantsEnded     *prometheus.CounterVec
	grantsFull      prometheus.Counter
	revocationsFull prometheus.Counter
}

// NewMetrics returns counters that are registered.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	const namespace, subsystem = "oauth_operator", "tokenserver"
	m := &Metrics{
		grantsEnded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "grants_ended_total",
			Help: "Grants that were ended, by reason. CodeReuse and RefreshTokenReuse mean that a copy was used, which may have been stolen.",
		}, []string{"reason"}),
		grantsFull: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "grants_refused_total",
			Help: "Requests that were refused because the bound on live grants was reached.",
		}),
		revocationsFull: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "revocations_refused_total",
			Help: "Access tokens that could not be revoked because a bound on stored revocations was reached.",
		}),
	}
	for _, reason := range []string{
		storage.EndCodeReuse, storage.EndRefreshTokenReuse, storage.EndRevoked, storage.EndConsentWithdrawn, storage.EndBound,
	} {
		m.grantsEnded.WithLabelValues(reason)
	}
	for _, c := range []prometheus.Collector{m.grantsEnded, m.grantsFull, m.revocationsFull} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) countEnded(reason string) {
	if m != nil {
		m.grantsEnded.WithLabelValues(reason).Inc()
	}
}

func (m *Metrics) countGrantsFull() {
	if m != nil {
		m.grantsFull.Inc()
	}
}

func (m *Metrics) countRevocationsFull() {
	if m != nil {
		m.revocationsFull.Inc()
	}
}
