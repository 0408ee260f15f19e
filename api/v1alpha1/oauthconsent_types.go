package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// OAuthConsentSpec describes what a user has allowed a client, until the consent is deleted. It is
// atomic, as OAuthGrantSpec is.
//
// +structType=atomic
type OAuthConsentSpec struct {
	// serverRef names the AuthorizationServer, in the same namespace.
	ServerRef LocalServerReference `json:"serverRef"`
	// serverUID is the UID of the AuthorizationServer. An AuthorizationServer that is created again
	// has another UID and does not use this consent.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ServerUID types.UID `json:"serverUID"`

	// username of the user at the last change. It is informative: token servers do not read it.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Username string `json:"username,omitempty"`
	// userUID is the UID of the user.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	UserUID string `json:"userUID"`
	// clientID of the client at the last change. It is informative: token servers do not read it.
	// +kubebuilder:validation:MaxLength=255
	// +optional
	ClientID string `json:"clientID,omitempty"`
	// clientUID is the UID of the client. A client that is created again has another UID, and the
	// user is asked again.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ClientUID string `json:"clientUID"`

	// scope that the user has allowed, a space-delimited list (RFC 6749 section 3.3).
	// +kubebuilder:validation:MaxLength=263167
	// +kubebuilder:validation:Pattern=`^[!#-\[\]-~]{1,256}( [!#-\[\]-~]{1,256})*$`
	// +optional
	Scope string `json:"scope,omitempty"`
	// apis that the user has allowed the client to call, each with those of the scopes that belong
	// to it. For a ResourceServer that is created again the user is asked again.
	// +kubebuilder:validation:MaxItems=1024
	// +listType=atomic
	// +optional
	APIs []AuthorizedAPI `json:"apis,omitempty"`
	// claims about the user that the client asked for by name and the user allowed, beyond those
	// that the scopes include (OpenID Connect Core section 5.5).
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=atomic
	// +optional
	Claims []string `json:"claims,omitempty"`
	// grantedAt is when the user first allowed something.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	GrantedAt *metav1.MicroTime `json:"grantedAt,omitempty"`
	// updatedAt is when the user last allowed more.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	UpdatedAt *metav1.MicroTime `json:"updatedAt,omitempty"`
}

// OAuthConsent is what a user has allowed a client. Token servers write it when the user agrees on
// the consent page. Deleting it withdraws the consent and ends the grants of the user and the
// client.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels="oauth-operator.dev/uninstall=keep"
// +kubebuilder:printcolumn:name="User",type=string,JSONPath=`.spec.username`
// +kubebuilder:printcolumn:name="Client",type=string,JSONPath=`.spec.clientID`
// +kubebuilder:printcolumn:name="Scope",type=string,JSONPath=`.spec.scope`
// +kubebuilder:printcolumn:name="Updated",type=date,JSONPath=`.spec.updatedAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Server",type=string,JSONPath=`.spec.serverRef.name`,priority=1
type OAuthConsent struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the consent, as a token server wrote it.
	Spec OAuthConsentSpec `json:"spec"`
}

// OAuthConsentList is a list of OAuthConsents.
//
// +kubebuilder:object:root=true
type OAuthConsentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []OAuthConsent `json:"items"`
}
