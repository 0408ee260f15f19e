package keysource

import (
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
)

// Metrics counts fetches. A nil *Metrics counts nothing.
type Metrics struct {
	fetches map[string]prometheus.Counter // by outcome
	sources atomic.Pointer[Sources]
}

// succeeded is the outcome of a fetch that did not fail. The others are reasons of package fetch.
const succeeded = "Succeeded"

// NewMetrics returns metrics that are registered.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{fetches: map[string]prometheus.Counter{}}
	fetches := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "oauth_operator", Subsystem: "tokenserver", Name: "key_set_fetches_total",
		Help: "Fetches of the key sets of clients and workload issuers, by the outcome.",
	}, []string{"outcome"})
	for _, outcome := range []string{succeeded, string(fetch.Unreachable), string(fetch.BadCertificate), string(fetch.BadAnswer)} {
		m.fetches[outcome] = fetches.WithLabelValues(outcome)
	}
	failing := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "oauth_operator", Subsystem: "tokenserver", Name: "key_sets_away",
		Help: "Key sets whose last fetch failed. Those that were fetched within the last day still count.",
	}, func() float64 {
		if sources := m.sources.Load(); sources != nil {
			return float64(len(sources.Failing()))
		}
		return 0
	})
	for _, c := range []prometheus.Collector{fetches, failing} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}

func (m *Metrics) setSources(s *Sources) {
	if m != nil {
		m.sources.Store(s)
	}
}

func (m *Metrics) count(err error) {
	if m == nil {
		return
	}
	outcome := succeeded
	if err != nil {
		outcome = string(fetch.ReasonOf(err))
	}
	m.fetches[outcome].Inc()
}

// Failing returns why the last fetch of each source failed that was used within a day, by its key.
func (s *Sources) Failing() map[string]fetch.Reason {
	s.mu.Lock()
	defer s.mu.Unlock()
	failing := map[string]fetch.Reason{}
	for key, source := range s.byKey {
		if err := source.lastError(); err != nil {
			failing[key] = fetch.ReasonOf(err)
		}
	}
	return failing
}

func (s *Source) lastError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}
