package password

import "github.com/prometheus/client_golang/prometheus"

// Metrics returns collectors of the queue's metrics.
func (v *Verifier) Metrics() []prometheus.Collector {
	const namespace, subsystem = "oauth_operator", "tokenserver"
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "password_queue_length",
			Help: "Passwords that are hashed or wait for it.",
		}, func() float64 { return float64(v.QueueLength()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "passwords_hashed_total",
			Help: "Passwords that were hashed, right or wrong.",
		}, func() float64 { return float64(v.CountHashed()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "password_queue_refused_total",
			Help: "Passwords that were not hashed because the queue, or the part of it that one user or source may have, was full.",
		}, func() float64 { return float64(v.refused.Load()) }),
	}
}
