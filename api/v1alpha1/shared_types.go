package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ServerReference names the AuthorizationServer that an object asks to be served by.
type ServerReference struct {
	// name of the AuthorizationServer.
	Name ServerName `json:"name"`

	// namespace of the AuthorizationServer. Default: the namespace of the object that holds the
	// reference.
	// +optional
	Namespace NamespaceName `json:"namespace,omitempty"`
}

// SecretKeyReference names one key of a Secret in the namespace of the object that holds the
// reference.
type SecretKeyReference struct {
	// name of the Secret.
	Name ObjectName `json:"name"`

	// key within the Secret's data.
	Key SecretKey `json:"key"`
}

// FromNamespaces is from which namespaces a rule allows objects.
// +kubebuilder:validation:Enum=Same;All;Selector
type FromNamespaces string

const (
	// NamespacesSame allows the namespace of the object that holds the rule.
	NamespacesSame FromNamespaces = "Same"
	// NamespacesAll allows every namespace.
	NamespacesAll FromNamespaces = "All"
	// NamespacesSelector allows the namespaces whose labels match the selector.
	NamespacesSelector FromNamespaces = "Selector"
)

// RuleNamespaces are the namespaces that a rule allows, as in the Gateway API.
//
// The schema of the selector is that of Kubernetes and has no bounds. The rules below bound its
// lists by checking a fixed number of items, at a constant cost; malformed labels are found when
// the selector is compiled.
//
// +kubebuilder:validation:XValidation:rule=`(has(self.from) && self.from == 'Selector') == has(self.selector)`,message="selector goes with from: Selector, and only with it: set both, or leave out selector"
// +kubebuilder:validation:XValidation:rule=`!has(self.selector) || ((!has(self.selector.matchLabels) || self.selector.matchLabels.size() <= 16) && (!has(self.selector.matchExpressions) || self.selector.matchExpressions.size() <= 8))`,message="selector may have at most 16 matchLabels and 8 matchExpressions"
// +kubebuilder:validation:XValidation:rule=`!has(self.selector) || !has(self.selector.matchExpressions) || [0, 1, 2, 3, 4, 5, 6, 7].all(i, i >= self.selector.matchExpressions.size() || self.selector.matchExpressions[i].operator in ['In', 'NotIn', 'Exists', 'DoesNotExist'])`,message="the operator of a matchExpression in selector must be In, NotIn, Exists or DoesNotExist"
// +kubebuilder:validation:XValidation:rule=`!has(self.selector) || !has(self.selector.matchExpressions) || [0, 1, 2, 3, 4, 5, 6, 7].all(i, i >= self.selector.matchExpressions.size() || !(self.selector.matchExpressions[i].operator in ['In', 'NotIn', 'Exists', 'DoesNotExist']) || (self.selector.matchExpressions[i].operator in ['In', 'NotIn']) == (has(self.selector.matchExpressions[i].values) && self.selector.matchExpressions[i].values.size() > 0))`,message="a matchExpression in selector has values with the operators In and NotIn, and only with them"
type RuleNamespaces struct {
	// from is Same, All or Selector. Default: Same.
	// +optional
	From FromNamespaces `json:"from,omitempty"`

	// selector is matched against the labels of the namespace; for from: Selector only. An empty
	// selector matches every namespace.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// GrantType is an OAuth 2.0 grant type as registered for RFC 7591.
// +kubebuilder:validation:Enum=authorization_code;implicit;password;client_credentials;refresh_token
type GrantType string

const (
	// GrantTypeAuthorizationCode is the authorization code grant (RFC 6749 section 4.1).
	GrantTypeAuthorizationCode GrantType = "authorization_code"
	// GrantTypeImplicit is the implicit grant (RFC 6749 section 4.2).
	GrantTypeImplicit GrantType = "implicit"
	// GrantTypePassword is the resource owner password credentials grant (RFC 6749 section 4.3).
	GrantTypePassword GrantType = "password"
	// GrantTypeClientCredentials is the client credentials grant (RFC 6749 section 4.4).
	GrantTypeClientCredentials GrantType = "client_credentials"
	// GrantTypeRefreshToken is the refresh token grant (RFC 6749 section 6).
	GrantTypeRefreshToken GrantType = "refresh_token"
)

// SigningAlgorithm is a JWS algorithm (RFC 7518 section 3.1).
// +kubebuilder:validation:Enum=ES256;RS256
type SigningAlgorithm string

const (
	// AlgorithmES256 is ECDSA on P-256 with SHA-256.
	AlgorithmES256 SigningAlgorithm = "ES256"
	// AlgorithmRS256 is RSASSA-PKCS1-v1_5 with SHA-256.
	AlgorithmRS256 SigningAlgorithm = "RS256"
)

// ConsentMode is whether the user is asked before a client gets tokens.
// +kubebuilder:validation:Enum=Required;Skip
type ConsentMode string

const (
	// ConsentRequired asks the user, and remembers the answer.
	ConsentRequired ConsentMode = "Required"
	// ConsentSkip does not ask; for first-party clients, where a rule of the server allows it.
	ConsentSkip ConsentMode = "Skip"
)
