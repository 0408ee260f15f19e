package documents

import "strings"

// Types of WorkloadIssuers.
const (
	WorkloadIssuerKubernetes = "Kubernetes"
	WorkloadIssuerJWT        = "JWT"
)

// WorkloadIssuer is who issues tokens to workloads. A server has at most one of type Kubernetes.
type WorkloadIssuer struct {
	// Name is unique among the server's issuers.
	Name string `json:"name"`
	// Type is Kubernetes, for the ServiceAccounts of the cluster of the token server, or JWT, for an
	// OpenID provider.
	Type string `json:"type"`
	// TokenReview has the API server review each token besides; for type Kubernetes.
	TokenReview bool `json:"tokenReview,omitempty"`
	// Issuer is the iss of the tokens, byte for byte; for type JWT. The API server says what its own
	// is.
	Issuer string `json:"issuer,omitempty"`
	// MaxLifetime is the longest lifetime of a token.
	MaxLifetime Seconds `json:"maxLifetime"`
	// Discovery has the keys of the issuer found by OpenID Connect Discovery; for type JWT. Otherwise
	// they are those of JWKS.
	Discovery bool `json:"discovery,omitempty"`
	// JWKS are the public keys of the issuer.
	JWKS []JWK `json:"jwks,omitempty"`
}

// WorkloadIdentity is a workload that may be a client.
type WorkloadIdentity struct {
	// Issuer is the name of the server's workload issuer; empty: that of type Kubernetes.
	Issuer string `json:"issuer,omitempty"`
	// Subject is the sub of the workload's tokens, byte for byte.
	Subject string `json:"subject"`
	// UID of the ServiceAccount; empty: that of any of the name.
	UID string `json:"uid,omitempty"`
}

const serviceAccountPrefix = "system:serviceaccount:"

// ServiceAccountSubject returns the sub of a ServiceAccount's tokens.
func ServiceAccountSubject(namespace, name string) string {
	return serviceAccountPrefix + namespace + ":" + name
}

// ServiceAccountNamespace returns the namespace of the ServiceAccount that has a sub; false if it is
// none's.
func ServiceAccountNamespace(subject string) (string, bool) {
	rest, ok := strings.CutPrefix(subject, serviceAccountPrefix)
	if !ok {
		return "", false
	}
	namespace, name, ok := strings.Cut(rest, ":")
	return namespace, ok && namespace != "" && name != ""
}

// Is reports whether the identity is that of a subject of an issuer, whose token has the uid of a
// ServiceAccount or "".
func (w WorkloadIdentity) Is(issuer WorkloadIssuer, subject, uid string) bool {
	if w.Issuer != issuer.Name && (w.Issuer != "" || issuer.Type != WorkloadIssuerKubernetes) {
		return false
	}
	return w.Subject != "" && w.Subject == subject && (w.UID == "" || w.UID == uid)
}

// FindWorkloadIssuer returns the issuer that an identity names; false if the server has none.
func (s *Server) FindWorkloadIssuer(w WorkloadIdentity) (WorkloadIssuer, bool) {
	for _, issuer := range s.WorkloadIssuers {
		if w.Issuer == issuer.Name || w.Issuer == "" && issuer.Type == WorkloadIssuerKubernetes {
			return issuer, true
		}
	}
	return WorkloadIssuer{}, false
}
