package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// LocalServerReference names an AuthorizationServer in the same namespace.
type LocalServerReference struct {
	// name of the AuthorizationServer.
	Name ServerName `json:"name"`
}

// OAuthUserSpec describes a local resource owner.
//
// +kubebuilder:validation:XValidation:rule=`has(self.subject) == has(oldSelf.subject) && (!has(self.subject) || self.subject == oldSelf.subject)`,fieldPath=".subject",message="subject is immutable, and can be neither added nor removed: applications know the user by it"
// +kubebuilder:validation:XValidation:rule=`has(self.passwordSecretRef) != has(self.passwordHashSecretRef)`,message="exactly one of passwordSecretRef and passwordHashSecretRef must be set: a user with neither cannot log in"
type OAuthUserSpec struct {
	// serverRef names the AuthorizationServer, in the same namespace: its owner manages the users.
	// Immutable.
	// +kubebuilder:validation:XValidation:rule=`self == oldSelf`,message="serverRef is immutable: delete the object and create it again to move it to another AuthorizationServer"
	ServerRef LocalServerReference `json:"serverRef"`

	// username that the user logs in with; compared after PRECIS UsernameCaseMapped (RFC 8265), so
	// letter case does not matter.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule=`size(bytes(self)) <= 256`,message="username has at most 256 bytes in UTF-8"
	// +kubebuilder:validation:XValidation:rule=`!self.matches('[\\s\\p{Z}\\p{Cc}\\p{Cf}]')`,message="username must not contain white space, control characters or invisible characters"
	Username string `json:"username"`

	// subject is the `sub` of the user's tokens (OpenID Connect Core section 2). Immutable.
	// Default: the object's UID.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[!-~]([ -~]*[!-~])?$')`,message="subject has at most 255 printable ASCII characters and does not begin or end with a space (OpenID Connect Core section 2)"
	// +kubebuilder:validation:XValidation:rule=`!self.startsWith('~')`,message="subject does not begin with ~, as the subjects of users from identity providers do: choose another subject"
	// +optional
	Subject string `json:"subject,omitempty"`

	// passwordSecretRef names the Secret key that holds the password in plain text; the operator
	// stores an argon2id hash.
	// +optional
	PasswordSecretRef *SecretKeyReference `json:"passwordSecretRef,omitempty"`

	// passwordHashSecretRef names the Secret key that holds a bcrypt or argon2id hash in PHC
	// format.
	// +optional
	PasswordHashSecretRef *SecretKeyReference `json:"passwordHashSecretRef,omitempty"`

	// claims about the user (OpenID Connect Core section 5.1). Names that the protocol sets are
	// refused.
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	// +optional
	Claims *runtime.RawExtension `json:"claims,omitempty"`

	// tokensNotBefore signs the user out everywhere: it voids the logins of that second or before,
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

// OAuthUserStatus is what the manager reports.
type OAuthUserStatus struct {
	// observedGeneration is the generation of the spec that the conditions are about.
	// +kubebuilder:validation:Minimum=0
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// subject is the `sub` in use. The user keeps it while the server does not exist or its Entries
	// are lost.
	// +kubebuilder:validation:MaxLength=255
	// +optional
	Subject string `json:"subject,omitempty"`

	// username is the name that the user logs in with, in the form in which it is compared. The
	// user keeps it as the subject.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Username string `json:"username,omitempty"`

	// conditions: Accepted, CredentialsReady, Programmed and Ready.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule=`self.all(c, c.lastTransitionTime >= timestamp('1970-01-01T00:00:00Z'))`,message="lastTransitionTime must be a time as in RFC 3339, since 1970"
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// OAuthUser is a local resource owner, in the namespace of its AuthorizationServer.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels="oauth-operator.dev/uninstall=keep"
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=oauth
// +kubebuilder:printcolumn:name="Username",type=string,JSONPath=`.spec.username`
// +kubebuilder:printcolumn:name="Subject",type=string,JSONPath=`.status.subject`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Server",type=string,JSONPath=`.spec.serverRef.name`,priority=1
// +kubebuilder:printcolumn:name="Suspended",type=boolean,JSONPath=`.spec.suspended`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
type OAuthUser struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is who the user is and how the user logs in.
	Spec OAuthUserSpec `json:"spec"`
	// status is what the manager and the token servers report.
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "The manager has not processed the object yet. If this does not change, check that the manager is running.", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Ready", status: "Unknown", reason: "Pending", message: "The manager has not processed the object yet. If this does not change, check that the manager is running.", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	// +optional
	Status OAuthUserStatus `json:"status,omitempty"`
}

// OAuthUserList is a list of OAuthUsers.
//
// +kubebuilder:object:root=true
type OAuthUserList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []OAuthUser `json:"items"`
}
