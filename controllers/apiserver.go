package controllers

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// ownClaims are the claims of the manager's own token. A token of a ServiceAccount that was
// requested without an audience has all audiences of the API server.
type ownClaims struct {
	issuer    string
	audiences []string
}

// readOwnClaims returns the claims of the token by which the manager authenticates at the API
// server; none if it authenticates otherwise. The API server verifies the token, the manager need
// not.
func readOwnClaims(config *rest.Config) (ownClaims, error) {
	token := config.BearerToken
	if config.BearerTokenFile != "" { // renewed by the kubelet
		content, err := os.ReadFile(config.BearerTokenFile)
		if err != nil {
			return ownClaims{}, fmt.Errorf("reading the manager's token: %w", err)
		}
		token = strings.TrimSpace(string(content))
	}
	if token == "" {
		return ownClaims{}, nil
	}
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil {
		return ownClaims{}, nil //nolint:nilerr // not a ServiceAccount's token, which is a JWT
	}
	return ownClaims{issuer: claims.Issuer, audiences: claims.Audience}, nil
}

// checkKubernetesIssuer refuses a server whose workload issuer of type Kubernetes could not be told
// from another one, or whose tokens would be good at the API server too: every Pod has a token for
// the API server, and it must be no credential of a client; and a server that gets a client's
// credential must not get one for the API server by it.
//
// It does not look at the names that clients and APIs have at the server: a user who may take a name
// could hold up the server by it. Token servers take a token that names the issuer of the cluster for
// that of a workload in any case.
func (r *serverReconciler) checkKubernetesIssuer(s *serverPass) (condition, error) {
	index := compile.KubernetesIssuer(s.server)
	if index < 0 {
		return condition{}, nil
	}
	own, err := readOwnClaims(r.apiServer)
	if err != nil {
		return condition{}, err
	}
	if slices.Contains(own.audiences, s.server.Spec.Issuer) {
		return falseCondition(v1alpha1.ReasonAudienceIsAPIServer,
			"spec.workloadIssuers[%d]: the API server accepts tokens for the server's own issuer %q (its --api-audiences), so each would be a credential for both: remove the issuer of type Kubernetes, or give the API server other audiences", index, s.server.Spec.Issuer), nil
	}
	if own.issuer == s.server.Spec.Issuer && own.issuer != "" {
		return invalidCondition("spec.workloadIssuers[%d]: the issuer of the cluster's ServiceAccount tokens is the server's own issuer: create the server with another issuer, which is immutable", index), nil
	}
	for i, w := range s.server.Spec.WorkloadIssuers {
		if w.JWT != nil && w.JWT.Issuer == own.issuer {
			return invalidCondition("spec.workloadIssuers[%d].jwt.issuer: it is the issuer of the cluster's ServiceAccount tokens, which %q is for: remove one of the two",
				i, s.server.Spec.WorkloadIssuers[index].Name), nil
		}
	}
	return condition{}, nil
}
