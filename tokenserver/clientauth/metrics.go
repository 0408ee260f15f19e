package clientauth

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// failure is why a client was not authenticated. The client learns less.
type failure string

const (
	// malformed is for requests that do not say what they should: two methods, or a header that is
	// not Basic.
	malformed failure = "Malformed"
	// unknownClient is for clients that do not exist, are suspended or are not allowed.
	unknownClient failure = "UnknownClient"
	// wrongSecret is for secrets that are no credential of the client, or none any more.
	wrongSecret failure = "WrongSecret"
	// wrongMethod is for clients that do not use the method that they are registered with.
	wrongMethod failure = "WrongMethod"
	// wrongSignature is for assertions that no key of the client has signed.
	wrongSignature failure = "WrongSignature"
	// invalidAssertion is for assertions with a good signature that are not valid: they have
	// expired, are for another server, or were used before.
	invalidAssertion failure = "InvalidAssertion"
)

// Metrics counts failed authentications of clients. A nil *Metrics counts nothing.
type Metrics struct {
	failures map[failure]prometheus.Counter
}

// NewMetrics returns counters that are registered.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "oauth_operator", Subsystem: "tokenserver", Name: "client_authentication_failures_total",
		Help: "Requests whose client was not authenticated, by the reason, which the client is not told. " +
			"Clients that are suspended or not allowed are unknown.",
	}, []string{"reason"})
	m := &Metrics{failures: map[failure]prometheus.Counter{}}
	for _, f := range []failure{malformed, unknownClient, wrongSecret, wrongMethod, wrongSignature, invalidAssertion} {
		m.failures[f] = failures.WithLabelValues(string(f))
	}
	if err := registerer.Register(failures); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return m, nil
}

func (m *Metrics) countFailure(f failure) {
	if m != nil {
		m.failures[f].Inc()
	}
}
