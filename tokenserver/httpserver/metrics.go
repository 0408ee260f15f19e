package httpserver

import "github.com/prometheus/client_golang/prometheus"

// Stats are the numbers of a server's connections.
type Stats struct {
	// Open counts the connections that are open, Waiting those of them that wait for their client, or
	// whose handler waits for another server.
	Open, Waiting int
	// IncompleteBytes is how many bytes of incomplete requests were received.
	IncompleteBytes int
	// ClosedEarly counts the connections that were closed for another, Refused those that were
	// closed when they were accepted.
	ClosedEarly, Refused int
}

// Stats returns the present numbers.
func (s *Server) Stats() Stats {
	l := s.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{
		Open: l.open, Waiting: l.waiting.Len(), IncompleteBytes: l.incomplete, ClosedEarly: l.closedEarly, Refused: l.refused,
	}
}

// Metrics returns collectors of the numbers.
func (s *Server) Metrics() []prometheus.Collector {
	const namespace, subsystem = "oauth_operator", "tokenserver"
	return []prometheus.Collector{
		newCertificateExpiry(s.certificate),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "connections", Help: "Connections that are open.",
		}, func() float64 { return float64(s.Stats().Open) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "connections_closed_early_total",
			Help: "Connections that waited, for their client or for another server, and were closed because others needed their place or memory.",
		}, func() float64 { return float64(s.Stats().ClosedEarly) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "connections_refused_total",
			Help: "Connections that were closed at once because as many requests as may be were under way.",
		}, func() float64 { return float64(s.Stats().Refused) }),
	}
}
