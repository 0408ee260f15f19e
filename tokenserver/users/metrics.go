package users

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/providercount"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// NewMetrics returns a counter of what mappings cannot make of users, registered.
func NewMetrics(registerer prometheus.Registerer, reg *registry.Registry) (*providercount.Counter, error) {
	return providercount.New(registerer, reg, providercount.Options{
		Name: "claim_errors_total",
		Help: "Claims about users, or parts of them, that were left out at a sign-in because their mapping failed, by identity provider.",
	})
}
