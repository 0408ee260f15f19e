// Package providercount counts what happens at identity providers.
package providercount

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// Success is the result of a sign-in that counters by result have from the beginning.
const Success = "Success"

// Options say what a Counter counts.
type Options struct {
	Name, Help string
	// ByResult gives it the label result.
	ByResult bool
	// Except is the type of the providers that it does not count for.
	Except string
}

// Counter counts by identity provider. Each provider that is served has a counter from the beginning,
// so that an alert sees its first increase. A nil *Counter counts nothing.
type Counter struct {
	registry *registry.Registry
	options  Options
	counts   *prometheus.CounterVec
}

// New returns a Counter that is registered.
func New(registerer prometheus.Registerer, reg *registry.Registry, o Options) (*Counter, error) {
	labels := []string{"provider"}
	if o.ByResult {
		labels = append(labels, "result")
	}
	c := &Counter{reg, o, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "oauth_operator", Subsystem: "tokenserver", Name: o.Name, Help: o.Help,
	}, labels)}
	return c, registerer.Register(c)
}

// Describe implements prometheus.Collector.
func (c *Counter) Describe(descriptions chan<- *prometheus.Desc) { c.counts.Describe(descriptions) }

// Collect implements prometheus.Collector.
func (c *Counter) Collect(collected chan<- prometheus.Metric) {
	for _, p := range c.registry.IdentityProviders() {
		if c.options.Except == "" || p.Type != c.options.Except { // one that is not accepted has no type
			c.of(p.Name, Success)
		}
	}
	c.counts.Collect(collected)
}

func (c *Counter) of(provider, result string) prometheus.Counter {
	if c.options.ByResult {
		return c.counts.WithLabelValues(provider, result)
	}
	return c.counts.WithLabelValues(provider)
}

// Add counts n at a provider.
func (c *Counter) Add(provider string, n int) {
	if c != nil {
		c.of(provider, "").Add(float64(n))
	}
}

// AddResult counts a result at a provider.
func (c *Counter) AddResult(provider, result string) {
	if c != nil {
		c.of(provider, result).Inc()
	}
}
