package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ResourceServerSpec is what the team of an API declares.
type ResourceServerSpec struct {
	// serverRef names the AuthorizationServer. Immutable.
	// +kubebuilder:validation:XValidation:rule=`self == oldSelf`,message="serverRef is immutable, its namespace too: delete the object and create it again to move it to another AuthorizationServer"
	ServerRef ServerReference `json:"serverRef"`

	// identifier is the resource (RFC 8707) that clients name, and the audience of the tokens: an
	// absolute URI without fragment. Immutable.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self == oldSelf`,message="identifier is immutable, because issued tokens carry it: delete the object and create it again for another identifier"
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[A-Za-z][A-Za-z0-9+.-]*:.')`,message="identifier must be an absolute URI with a scheme, such as https://orders.example.com or urn:example:orders (RFC 8707 section 2)"
	// +kubebuilder:validation:XValidation:rule=`!self.contains('#')`,message="identifier must have no fragment: remove what begins with # (RFC 8707 section 2)"
	// +kubebuilder:validation:XValidation:rule=`!self.contains('*')`,message="identifier must have no wildcard"
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([A-Za-z0-9._~:/?#\\[\\]@!$&\'()*+,;=-]|%[0-9A-Fa-f]{2})*$')`,message="identifier has the characters of RFC 3986 only: no spaces, control characters, backslashes or other characters; percent-encode them (%20)"
	Identifier string `json:"identifier"`

	// scopes that the API understands. A scope that another ResourceServer declared first is
	// refused.
	// +kubebuilder:validation:MaxItems=128
	// +listType=map
	// +listMapKey=name
	// +optional
	Scopes []ResourceScope `json:"scopes,omitempty"`

	// allowedClients are the rules by which clients may get tokens for this API. Default: one rule
	// that allows the API's own namespace.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule=`self.size() > 0`,message="allowedClients must not be empty: leave it out to allow the API's own namespace, or list a rule"
	// +listType=map
	// +listMapKey=name
	// +optional
	AllowedClients []ResourceClientRule `json:"allowedClients,omitempty"`

	// introspectionClients are the OAuthClients that may introspect tokens for this API (RFC 7662).
	// Default: none.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule=`self.all(x, self.exists_one(y, y == x))`,message="introspectionClients must not contain a client twice"
	// +listType=atomic
	// +optional
	IntrospectionClients []ClientReference `json:"introspectionClients,omitempty"`
}

// ResourceScope is one scope of an API.
type ResourceScope struct {
	// name is the scope token (RFC 6749 section 3.3).
	// +kubebuilder:validation:XValidation:rule=`!(self in ['openid', 'profile', 'email', 'address', 'phone', 'groups', 'offline_access'])`,message="a ResourceServer must not declare the built-in scopes openid, profile, email, address, phone, groups and offline_access: remove it from scopes"
	Name Scope `json:"name"`

	// description is what the consent page shows.
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule=`!self.matches('[\\x{00}-\\x{1f}\\x{7f}-\\x{9f}\\x{200e}\\x{200f}\\x{2028}-\\x{202e}\\x{2066}-\\x{2069}]')`,message="description must not contain control characters, line breaks or characters that change the direction of text"
	// +optional
	Description string `json:"description,omitempty"`
}

// ResourceClientRule allows clients to get tokens for an API.
type ResourceClientRule struct {
	// name is unique among the rules; conditions quote it.
	Name RuleName `json:"name"`

	// namespaces of the clients. Default: Same.
	// +optional
	Namespaces *RuleNamespaces `json:"namespaces,omitempty"`

	// scopes of the API that these clients may get: a literal, a prefix that ends in "*", or "*"
	// for any. Default: any.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	// +optional
	Scopes []ScopePattern `json:"scopes,omitempty"`
}

// ClientReference names an OAuthClient.
type ClientReference struct {
	// name of the OAuthClient.
	Name ObjectName `json:"name"`

	// namespace of the OAuthClient. Default: the namespace of the object that holds the reference.
	// +optional
	Namespace NamespaceName `json:"namespace,omitempty"`
}

// ResourceServerStatus is what the manager and the token servers report.
type ResourceServerStatus struct {
	// observedGeneration is the generation of the spec that the conditions are about.
	// +kubebuilder:validation:Minimum=0
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// identifier is the resource identifier in use. The ResourceServer keeps it while the server
	// does not exist or its Entries are lost.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Identifier string `json:"identifier,omitempty"`

	// scopes are those of spec.scopes that belong to the ResourceServer. It keeps them as the
	// identifier.
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=set
	// +optional
	Scopes []string `json:"scopes,omitempty"`

	// conditions: Accepted, ResolvedRefs, Programmed and Ready.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule=`self.all(c, c.lastTransitionTime >= timestamp('1970-01-01T00:00:00Z'))`,message="lastTransitionTime must be a time as in RFC 3339, since 1970"
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ResourceServer is an API that accepts tokens of an AuthorizationServer.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels="oauth-operator.dev/uninstall=keep"
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=oauth
// +kubebuilder:printcolumn:name="Identifier",type=string,JSONPath=`.spec.identifier`
// +kubebuilder:printcolumn:name="Server",type=string,JSONPath=`.spec.serverRef.name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
type ResourceServer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the team of the API declares.
	Spec ResourceServerSpec `json:"spec"`
	// status is what the manager and the token servers report.
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "The manager has not processed the object yet. If this does not change, check that the manager is running.", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Ready", status: "Unknown", reason: "Pending", message: "The manager has not processed the object yet. If this does not change, check that the manager is running.", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	// +optional
	Status ResourceServerStatus `json:"status,omitempty"`
}

// ResourceServerList is a list of ResourceServers.
//
// +kubebuilder:object:root=true
type ResourceServerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ResourceServer `json:"items"`
}
