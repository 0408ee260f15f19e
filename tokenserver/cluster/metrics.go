package cluster

import (
	"fmt"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

func (c *Cluster) registerMetrics(metrics prometheus.Registerer) error {
	for _, collector := range []prometheus.Collector{
		newGauge("served_state_age_seconds",
			"Seconds since the cluster last confirmed what is served: about 10 at most while the API server can be reached, +Inf before the first time.",
			"", c.servedStateAge),
		newGauge("rejected_entries", "Entries that the server cannot read or serve.", "", func() float64 { return float64(c.entries.countRejected()) }),
		c.newCount("OAuthClient", func(n registry.Counts) int { return n.Clients }),
		c.newCount("OAuthUser", func(n registry.Counts) int { return n.Users }),
		c.newCount("ResourceServer", func(n registry.Counts) int { return n.ResourceServers }),
	} {
		if err := metrics.Register(collector); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

func (c *Cluster) newCount(kind string, of func(registry.Counts) int) prometheus.Collector {
	return newGauge("registered_objects", "Objects that the server knows, those that it refuses among them, by kind.", kind,
		func() float64 { return float64(of(c.config.Registry.Count())) })
}

func newGauge(name, help, kind string, value func() float64) prometheus.Collector {
	var labels prometheus.Labels
	if kind != "" {
		labels = prometheus.Labels{"kind": kind}
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "oauth_operator", Subsystem: "tokenserver", Name: name, Help: help, ConstLabels: labels,
	}, value)
}

func (c *Cluster) servedStateAge() float64 {
	confirmed := c.lastConfirmed.Load()
	if confirmed == 0 {
		return math.Inf(1)
	}
	return max(0, c.config.Now().Sub(time.Unix(0, confirmed)).Seconds())
}
