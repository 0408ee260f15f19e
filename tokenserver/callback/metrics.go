package callback

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/providercount"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// The results that are no oidc.Reason.
const (
	resultSuccess   = providercount.Success
	resultDenied    = "Denied"
	resultOtherUser = "OtherUser"
	resultFull      = "Full"
	resultTooOften  = "TooOften"
	resultError     = "Error"
)

// NewMetrics returns a counter of sign-ins, registered.
func NewMetrics(registerer prometheus.Registerer, reg *registry.Registry) (*providercount.Counter, error) {
	return providercount.New(registerer, reg, providercount.Options{
		Name:     "provider_sign_ins_total",
		Help:     "Users who came back from an OpenID provider, by identity provider and by result: Success, or why the user did not sign in.",
		ByResult: true, Except: documents.ProviderLDAP,
	})
}
