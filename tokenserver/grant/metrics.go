package grant

import "github.com/prometheus/client_golang/prometheus"

// Metrics of grants. A nil one counts nothing.
type Metrics struct {
	endings *prometheus.CounterVec
	refused prometheus.Counter
	places  prometheus.Counter
}

// NewMetrics makes the counters and registers them.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	const namespace, subsystem = "oauth_operator", "tokenserver"
	m := &Metrics{
		endings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "grants_ended_total",
			Help: "Grants that were ended, by reason. CodeReuse and RefreshTokenReuse mean that someone used a copy.",
		}, []string{"reason"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "grants_full_total",
			Help: "Requests that were refused because the bound on live grants was reached.",
		}),
		places: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "revocations_full_total",
			Help: "Access tokens that could not be revoked because a bound on remembered revocations was reached.",
		}),
	}
	for _, c := range []prometheus.Collector{m.endings, m.refused, m.places} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) ended(reason string) {
	if m != nil {
		m.endings.WithLabelValues(reason).Inc()
	}
}

func (m *Metrics) noPlace() {
	if m != nil {
		m.places.Inc()
	}
}

func (m *Metrics) full() {
	if m != nil {
		m.refused.Inc()
	}
}
