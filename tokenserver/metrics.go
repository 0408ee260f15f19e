package tokenserver

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/callback"
	"github.com/oauth-operator/oauth-operator/tokenserver/clientauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap"
	"github.com/oauth-operator/oauth-operator/tokenserver/providercount"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// endpointMetrics are the metrics of what the endpoints work with.
type endpointMetrics struct {
	requests *web.Metrics
	grants   *grant.Metrics
	clients  *clientauth.Metrics
	sources  *keysource.Metrics
	callback *providercount.Counter
	ldap     *ldap.Metrics
	users    *providercount.Counter
}

// newEndpointMetrics returns new metrics, registered.
func newEndpointMetrics(registerer prometheus.Registerer, reg *registry.Registry) (m endpointMetrics, err error) {
	if m.requests, err = web.NewMetrics(registerer); err != nil {
		return m, fmt.Errorf("registering the metrics of requests: %w", err)
	}
	if m.grants, err = grant.NewMetrics(registerer); err != nil {
		return m, fmt.Errorf("registering the metrics of grants: %w", err)
	}
	if m.clients, err = clientauth.NewMetrics(registerer); err != nil {
		return m, fmt.Errorf("registering the metrics of client authentication: %w", err)
	}
	if m.sources, err = keysource.NewMetrics(registerer); err != nil {
		return m, fmt.Errorf("registering the metrics of key sets: %w", err)
	}
	if m.users, err = users.NewMetrics(registerer, reg); err != nil {
		return m, fmt.Errorf("registering the metrics of users: %w", err)
	}
	if m.callback, err = callback.NewMetrics(registerer, reg); err != nil {
		return m, fmt.Errorf("registering the metrics of identity providers: %w", err)
	}
	if m.ldap, err = ldap.NewMetrics(registerer, reg); err != nil {
		return m, fmt.Errorf("registering the metrics of directories: %w", err)
	}
	return m, nil
}

// readiness returns the metric that says whether the program is ready, as /readyz does.
func (p *program) readiness() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "oauth_operator", Subsystem: "tokenserver", Name: "ready", Help: "1 if the replica is ready, else 0.",
	}, func() float64 {
		if p.problem() != "" {
			return 0
		}
		return 1
	})
}
