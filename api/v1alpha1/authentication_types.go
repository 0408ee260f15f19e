package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AuthMethodPattern is an authentication method of clients in a rule, or "*" for any.
// +kubebuilder:validation:Enum=*;client_secret_basic;client_secret_post;private_key_jwt;WorkloadIdentity;none
type AuthMethodPattern string

// AuthMethodAny allows every authentication method.
const AuthMethodAny AuthMethodPattern = "*"

// AuthenticationStatus is how a client authenticates.
type AuthenticationStatus struct {
	// method is the tokenEndpointAuthMethod.
	// +kubebuilder:validation:MaxLength=32
	Method string `json:"method"`

	// since is when the client got the method.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	Since metav1.Time `json:"since"`

	// previousMethod is the method that the client had before, while that is still accepted.
	// +kubebuilder:validation:MaxLength=32
	// +optional
	PreviousMethod string `json:"previousMethod,omitempty"`

	// previousUntil is when the previous method ends.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	PreviousUntil *metav1.Time `json:"previousUntil,omitempty"`
}

// AuthMethodUse is how many clients of a server use an authentication method.
type AuthMethodUse struct {
	// method is the tokenEndpointAuthMethod.
	// +kubebuilder:validation:MaxLength=32
	Method string `json:"method"`

	// clients is the number of accepted OAuthClients that use it.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Clients int32 `json:"clients"`

	// since is when the one that has used it for longest got it.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
}

// LegacyGrantUse is how many clients of a server use a grant type that RFC 9700 advises against.
type LegacyGrantUse struct {
	// grantType is implicit or password.
	// +kubebuilder:validation:MaxLength=32
	GrantType string `json:"grantType"`

	// clients is the number of accepted OAuthClients that list it.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	Clients int32 `json:"clients"`

	// until is when it ends for the last of them; absent if it does not end for all.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	Until *metav1.Time `json:"until,omitempty"`
}
