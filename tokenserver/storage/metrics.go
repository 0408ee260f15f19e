package storage

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// RegisterLiveGrants registers the metrics of how many grants are live, and how many may be.
func RegisterLiveGrants(registerer prometheus.Registerer, count func() int) error {
	const namespace, subsystem = "oauth_operator", "tokenserver"
	for _, c := range []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "live_grants",
			Help: "Grants of the server that have neither ended nor expired, as of a minute ago at most. " +
				"All replicas that share a storage report about the same number.",
		}, func() float64 { return float64(count()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "live_grants_limit",
			Help: "How many grants of the server may be live. One more is refused.",
		}, func() float64 { return MaxGrantsPerServer }),
	} {
		if err := registerer.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}
