package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// WorkloadIssuerType is who issues tokens to workloads.
// +kubebuilder:validation:Enum=Kubernetes;JWT
type WorkloadIssuerType string

const (
	// WorkloadIssuerKubernetes issues tokens to the ServiceAccounts of the cluster of the
	// AuthorizationServer.
	WorkloadIssuerKubernetes WorkloadIssuerType = "Kubernetes"
	// WorkloadIssuerJWT is an OpenID provider that issues tokens to workloads, such as the jobs of
	// a CI service.
	WorkloadIssuerJWT WorkloadIssuerType = "JWT"
)

// TokenVerification is how tokens of ServiceAccounts are verified.
// +kubebuilder:validation:Enum=JWKS;TokenReview
type TokenVerification string

const (
	// TokenVerificationJWKS verifies them with the keys of the cluster.
	TokenVerificationJWKS TokenVerification = "JWKS"
	// TokenVerificationTokenReview has the API server review each besides, so that one whose Pod or
	// ServiceAccount was deleted is refused.
	TokenVerificationTokenReview TokenVerification = "TokenReview"
)

// WorkloadIssuer is who issues the tokens by which workloads authenticate as clients.
//
// +kubebuilder:validation:XValidation:rule=`self.type == oldSelf.type`,fieldPath=".type",message="type is immutable, because clients name the issuer: add an issuer of another name"
// +kubebuilder:validation:XValidation:rule=`self.type == 'Kubernetes' || !has(self.kubernetes)`,fieldPath=".kubernetes",message="kubernetes goes with type: Kubernetes only: remove kubernetes"
// +kubebuilder:validation:XValidation:rule=`self.type == 'JWT' || !has(self.jwt)`,fieldPath=".jwt",message="jwt goes with type: JWT only: remove jwt"
// +kubebuilder:validation:XValidation:rule=`self.type != 'JWT' || has(self.jwt)`,fieldPath=".jwt",message="jwt is required with type: JWT: set jwt.issuer to the iss of the tokens"
type WorkloadIssuer struct {
	// name is unique among the issuers; clients and rules name the issuer by it.
	Name RuleName `json:"name"`

	// type is Kubernetes or JWT. Immutable.
	Type WorkloadIssuerType `json:"type"`

	// kubernetes is how tokens of ServiceAccounts are verified; for type Kubernetes.
	// +optional
	Kubernetes *KubernetesWorkloadIssuer `json:"kubernetes,omitempty"`

	// jwt is the OpenID provider; for type JWT.
	// +optional
	JWT *JWTWorkloadIssuer `json:"jwt,omitempty"`
}

// KubernetesWorkloadIssuer is how tokens of ServiceAccounts are verified.
type KubernetesWorkloadIssuer struct {
	// verification is JWKS or TokenReview. TokenReview needs a ClusterRoleBinding of the ClusterRole
	// oauth-operator-token-reviewer to the token server's ServiceAccount. Default: JWKS.
	// +optional
	Verification TokenVerification `json:"verification,omitempty"`
}

// JWTWorkloadIssuer is an OpenID provider that issues tokens to workloads.
type JWTWorkloadIssuer struct {
	// issuer is the iss of the tokens, byte for byte: an https URL without query and fragment.
	// Immutable.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self == oldSelf`,message="jwt.issuer is immutable, because clients trust it by name: add an issuer of another name"
	// +kubebuilder:validation:XValidation:rule=`self.matches('^https://[^/?#@]+(/[^?#]*)?$') && isURL(self)`,message="jwt.issuer must be an https URL without user name, query and fragment, such as https://ci.example.com"
	Issuer string `json:"issuer"`

	// maxLifetime is how long a token may be valid in all, from iat to exp. Default: 1h.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('1m') && duration(self) <= duration('24h')`,message="maxLifetime must be a duration from 1m to 24h in whole h, m and s, such as 15m"
	// +optional
	MaxLifetime *metav1.Duration `json:"maxLifetime,omitempty"`

	// jwks are the keys of the issuer. Default: those that its discovery document names (OpenID
	// Connect Discovery 1.0 section 4).
	// +optional
	JWKS *WorkloadIssuerJWKS `json:"jwks,omitempty"`
}

// WorkloadIssuerJWKS are the keys of an issuer that token servers cannot reach.
type WorkloadIssuerJWKS struct {
	// configMapRef names the ConfigMap key that holds the JWK Set (RFC 7517 section 5), in the
	// server's namespace. A change needs no restart.
	ConfigMapRef ConfigMapKeyReference `json:"configMapRef"`
}

// WorkloadIdentity is a workload that may authenticate as the client.
//
// +kubebuilder:validation:XValidation:rule=`has(self.serviceAccount) != has(self.issuer)`,message="a workload identity is either serviceAccount, or issuer and subject"
// +kubebuilder:validation:XValidation:rule=`has(self.issuer) == has(self.subject)`,message="issuer and subject go together: an identity is both"
type WorkloadIdentity struct {
	// serviceAccount is a ServiceAccount of the cluster of the AuthorizationServer.
	// +optional
	ServiceAccount *ServiceAccountIdentity `json:"serviceAccount,omitempty"`

	// issuer is the name of a workload issuer of the server with type JWT.
	// +optional
	Issuer RuleName `json:"issuer,omitempty"`

	// subject is the sub of the workload's tokens, byte for byte.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`!self.contains('*')`,message="subject is compared exactly and must have no wildcard: list each subject"
	// +kubebuilder:validation:XValidation:rule=`!self.matches('[\\x{00}-\\x{1f}\\x{7f}-\\x{9f}]')`,message="subject must not contain control characters or line breaks"
	// +optional
	Subject string `json:"subject,omitempty"`
}

// ServiceAccountIdentity names a ServiceAccount.
type ServiceAccountIdentity struct {
	// name of the ServiceAccount.
	Name ObjectName `json:"name"`

	// namespace of the ServiceAccount. Default: the client's own.
	// +optional
	Namespace NamespaceName `json:"namespace,omitempty"`

	// uid of the ServiceAccount: one that is created again under the name is another. Default: any.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9A-Za-z-]+$`
	// +optional
	UID string `json:"uid,omitempty"`
}
