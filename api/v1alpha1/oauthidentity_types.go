package v1alpha1

import (
	"crypto/sha256"
	"encoding/hex"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// OAuthIdentityName returns the name of the OAuthIdentity of a subject: "identity-" and the first 40
// hexadecimal digits of the SHA-256 of the subject. An object of another name is of no effect.
func OAuthIdentityName(subject string) string {
	sum := sha256.Sum256([]byte(subject))
	return "identity-" + hex.EncodeToString(sum[:20])
}

// OAuthIdentitySpec says which user an OAuthIdentity is about, and what the owner of the
// AuthorizationServer says about the user. Token servers write no more than the first two fields.
type OAuthIdentitySpec struct {
	// serverRef names the AuthorizationServer, in the same namespace. Immutable.
	// +kubebuilder:validation:XValidation:rule=`self == oldSelf`,message="serverRef is immutable: delete the object and create it again to move it to another AuthorizationServer"
	ServerRef LocalServerReference `json:"serverRef"`
	// subject is the `sub` of the user's tokens: "~" and 43 characters. Immutable.
	// +kubebuilder:validation:MaxLength=44
	// +kubebuilder:validation:XValidation:rule=`self.matches('^~[-_A-Za-z0-9]{43}$')`,message="subject is the sub of a user of an identity provider: ~ and 43 characters"
	// +kubebuilder:validation:XValidation:rule=`self == oldSelf`,message="subject is immutable: the object is about one user"
	Subject string `json:"subject"`
	// tokensNotBefore signs the user out everywhere: it voids the sign-ins of that second or before,
	// and what was issued by them, access tokens, codes, refresh tokens and sessions. A time in the
	// future does so when it comes. Nothing is deleted: a lower time makes what has not expired
	// good again. Default: nothing is void.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$') && timestamp(self) >= timestamp('1970-01-01T00:00:00Z')`,message="tokensNotBefore must be a time since 1970 in UTC, such as 2026-11-01T00:00:00Z"
	// +optional
	TokensNotBefore *metav1.Time `json:"tokensNotBefore,omitempty"`
	// suspended has token servers refuse the user within a second: the user cannot sign in, and
	// sessions and tokens are of no use. It deletes nothing: they are good again when it is lifted.
	// +optional
	Suspended bool `json:"suspended,omitempty"`
}

// SaysSomething reports whether the owner of the AuthorizationServer has said something about the
// user.
func (s *OAuthIdentitySpec) SaysSomething() bool { return s.Suspended || s.TokensNotBefore != nil }

// OAuthIdentityStatus is what a token server has recorded of the user, where spec.storage of the
// AuthorizationServer is Kubernetes, and what the manager says of spec.
type OAuthIdentityStatus struct {
	// observedGeneration is the generation of the spec that the conditions are about.
	// +kubebuilder:validation:Minimum=0
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// serverUID is the UID of the AuthorizationServer. An AuthorizationServer that is created again
	// has another UID and does not use this status.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=128
	// +optional
	ServerUID types.UID `json:"serverUID,omitempty"`
	// provider is the name of the IdentityProvider where the user signed in last.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Provider string `json:"provider,omitempty"`
	// providerUID is its UID. The tokens of a user end with the IdentityProvider, also if it is
	// created again.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=128
	// +optional
	ProviderUID types.UID `json:"providerUID,omitempty"`
	// claims about the user that the IdentityProvider's mapping has made.
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	// +optional
	Claims *runtime.RawExtension `json:"claims,omitempty"`
	// claimsAt is when the IdentityProvider made the statements that claims were made from.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	ClaimsAt *metav1.MicroTime `json:"claimsAt,omitempty"`
	// lastSignIn is when the user signed in last; it may be a day behind. A token server deletes the
	// object 30 days after it, unless a grant of the user lives or the owner of the
	// AuthorizationServer has said something about the user.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	LastSignIn *metav1.MicroTime `json:"lastSignIn,omitempty"`
	// conditions: Accepted, Programmed and Ready, while spec says something about the user. The
	// manager writes them and observedGeneration, and token servers the rest.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule=`self.all(c, c.lastTransitionTime >= timestamp('1970-01-01T00:00:00Z'))`,message="lastTransitionTime must be a time as in RFC 3339, since 1970"
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// tokenServerState is the token server's own. It is of no use to others, and may change
	// between versions.
	// +optional
	TokenServerState IdentityState `json:"tokenServerState,omitzero"`
}

// IdentityState is what token servers keep in an OAuthIdentity for themselves.
type IdentityState struct {
	// allowHash is a hash of the condition of the IdentityProvider that the user has met. With
	// another condition the user has to sign in again.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	AllowHash string `json:"allowHash,omitempty"`
	// passwordChanged is a hash of what the directory said about when the user's password was
	// changed.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	PasswordChanged string `json:"passwordChanged,omitempty"`
	// sealedSubject is how the directory knows the user, sealed with a key of the AuthorizationServer.
	// The token server asks the directory again by it.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	SealedSubject string `json:"sealedSubject,omitempty"`
	// endings counts how often all that was issued to the user ended, because of what the directory
	// said.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Endings int64 `json:"endings,omitempty"`
}

// OAuthIdentity is a user who signs in at an IdentityProvider. Where spec.storage of the
// AuthorizationServer is Kubernetes, token servers write one for each, and deleting it signs the user
// out for good: the next sign-in creates another one, which has no part in what was issued before.
// With another storage it is there only if the owner of the AuthorizationServer has written it, to
// say something about the user.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels="oauth-operator.dev/uninstall=keep"
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Provider",type=string,JSONPath=`.status.provider`
// +kubebuilder:printcolumn:name="Username",type=string,JSONPath=`.status.claims.preferred_username`
// +kubebuilder:printcolumn:name="Subject",type=string,JSONPath=`.spec.subject`
// +kubebuilder:printcolumn:name="Last sign-in",type=date,JSONPath=`.status.lastSignIn`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Server",type=string,JSONPath=`.spec.serverRef.name`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
type OAuthIdentity struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says who the user is, and what the owner of the AuthorizationServer says about the user.
	Spec OAuthIdentitySpec `json:"spec"`
	// status is what a token server has recorded of the user, and what the manager says of spec.
	// +optional
	Status OAuthIdentityStatus `json:"status,omitzero"`
}

// OAuthIdentityList is a list of OAuthIdentities.
//
// +kubebuilder:object:root=true
type OAuthIdentityList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []OAuthIdentity `json:"items"`
}
