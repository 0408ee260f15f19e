package web

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the metrics of the requests. All label values are from fixed sets: the endpoints of
// the route table, common methods, the grant types and error codes of package oauth, HTTP statuses.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	grants   *prometheus.CounterVec
	errors   *prometheus.CounterVec
}

// NewMetrics returns new metrics, registered.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	const namespace, subsystem = "oauth_operator", "tokenserver"
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "requests_total", Help: "Requests by endpoint, method and HTTP status.",
		}, []string{"endpoint", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "request_duration_seconds", Help: "How long requests took, by endpoint.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"endpoint"}),
		grants: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "grant_requests_total",
			Help: "Requests that use a grant type, by endpoint and outcome: ok or the error code. RFC 9700 advises against implicit and password.",
		}, []string{"endpoint", "grant_type", "outcome"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "errors_total", Help: "Errors answered, by endpoint and error code.",
		}, []string{"endpoint", "error"}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.grants, m.errors} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// endpointMetrics are the metrics of one endpoint.
type endpointMetrics struct {
	requests, grants, errors *prometheus.CounterVec
	seconds                  prometheus.Observer
}

func (m *Metrics) endpoint(name string) *endpointMetrics {
	labels := prometheus.Labels{"endpoint": name}
	return &endpointMetrics{
		requests: m.requests.MustCurryWith(labels), grants: m.grants.MustCurryWith(labels), errors: m.errors.MustCurryWith(labels),
		seconds: m.seconds.With(labels),
	}
}

func (m *endpointMetrics) observe(method string, status int, grantType, errorCode string, duration time.Duration) {
	m.requests.WithLabelValues(method, strconv.Itoa(status)).Inc()
	m.seconds.Observe(duration.Seconds())
	outcome := "ok"
	if errorCode != "" {
		m.errors.WithLabelValues(errorCode).Inc()
		outcome = errorCode
	}
	if grantType != "" {
		m.grants.WithLabelValues(grantType, outcome).Inc()
	}
}
