package metadata

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// addAuthMethods adds how clients authenticate, which is the same at each endpoint, but that public
// clients do not introspect. A token of a workload is sent as an assertion by private_key_jwt is.
func (d *Document) addAuthMethods(s documents.Server) {
	for _, method := range []string{oauth.AuthMethodSecretBasic, oauth.AuthMethodSecretPost, oauth.AuthMethodPrivateKey, oauth.AuthMethodNone} {
		allowed := policy.AllowsAuthMethod(s, method)
		if method == oauth.AuthMethodPrivateKey {
			allowed = allowed || len(s.WorkloadIssuers) > 0 && policy.AllowsAuthMethod(s, oauth.AuthMethodWorkloadIdentity)
		}
		if allowed {
			d.TokenAuthMethods = append(d.TokenAuthMethods, method)
		}
	}
	d.RevocationAuth = d.TokenAuthMethods
	for _, method := range d.TokenAuthMethods {
		if method != oauth.AuthMethodNone {
			d.IntrospectionAuth = append(d.IntrospectionAuth, method)
		}
	}
	if slices.Contains(d.TokenAuthMethods, oauth.AuthMethodPrivateKey) {
		d.TokenAuthAlgorithms = jwks.Algorithms()
		d.IntrospectionAuthAlgorithms, d.RevocationAuthAlgorithms = d.TokenAuthAlgorithms, d.TokenAuthAlgorithms
	}
}
