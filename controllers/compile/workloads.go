package compile

import (
	"cmp"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// defaultWorkloadLifetime is how long a workload's token may be valid in all. Tokens of
// ServiceAccounts are, if they are projected as Kubernetes does by default.
const defaultWorkloadLifetime = time.Hour

// workloadIssuers returns the workload issuers of a server, without the keys that are in ConfigMaps.
func workloadIssuers(as *v1alpha1.AuthorizationServer) (issuers []documents.WorkloadIssuer) {
	for _, w := range as.Spec.WorkloadIssuers {
		issuer := documents.WorkloadIssuer{Name: w.Name, Type: string(w.Type), MaxLifetime: seconds(nil, defaultWorkloadLifetime)}
		switch {
		case w.Type == v1alpha1.WorkloadIssuerKubernetes:
			issuer.TokenReview = w.Kubernetes != nil && w.Kubernetes.Verification == v1alpha1.TokenVerificationTokenReview
		case w.JWT != nil:
			issuer.Issuer, issuer.MaxLifetime = w.JWT.Issuer, seconds(w.JWT.MaxLifetime, defaultWorkloadLifetime)
			issuer.Discovery = w.JWT.JWKS == nil
		}
		issuers = append(issuers, issuer)
	}
	return issuers
}

// KubernetesIssuer returns the index of the server's workload issuer of type Kubernetes in its spec;
// -1 if it has none.
func KubernetesIssuer(as *v1alpha1.AuthorizationServer) int {
	for i, w := range as.Spec.WorkloadIssuers {
		if w.Type == v1alpha1.WorkloadIssuerKubernetes {
			return i
		}
	}
	return -1
}

// workloadIdentities returns the workloads that may be a client.
func workloadIdentities(c *v1alpha1.OAuthClient) (identities []documents.WorkloadIdentity) {
	if c.Spec.TokenEndpointAuthMethod != v1alpha1.AuthMethodWorkloadIdentity {
		return nil
	}
	for _, w := range c.Spec.WorkloadIdentities {
		identity := documents.WorkloadIdentity{Issuer: w.Issuer, Subject: w.Subject}
		if account := w.ServiceAccount; account != nil {
			identity = documents.WorkloadIdentity{
				Subject: documents.ServiceAccountSubject(cmp.Or(account.Namespace, c.Namespace), account.Name), UID: account.UID,
			}
		}
		identities = append(identities, identity)
	}
	return identities
}
