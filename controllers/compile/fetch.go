package compile

import (
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// fetchRules returns what the token server may fetch, without the certificates in its ConfigMap; nil
// if that is nothing besides what is at public addresses.
func fetchRules(spec *v1alpha1.FetchSettings) *documents.Fetch {
	if spec == nil || len(spec.AllowedNetworks)+len(spec.JWKSHosts) == 0 && spec.CABundle == nil {
		return nil
	}
	return &documents.Fetch{AllowedNetworks: texts(spec.AllowedNetworks), JWKSHosts: texts(spec.JWKSHosts)}
}
