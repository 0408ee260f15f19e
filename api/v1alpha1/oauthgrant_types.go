package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ServerUIDLabel is on every OAuthGrant and OAuthConsent and holds the UID of the AuthorizationServer; a token server selects by it.
const ServerUIDLabel = "oauth-operator.dev/server-uid"

// UserLabel and ClientLabel are on every OAuthGrant and OAuthConsent and hold hashes of the UIDs, by which a pair's objects are found.
const (
	UserLabel   = "oauth-operator.dev/user-hash"
	ClientLabel = "oauth-operator.dev/client-hash"
)

// AuthorizedAPI is a ResourceServer that a user has allowed a client to call.
type AuthorizedAPI struct {
	// identifier of the ResourceServer, which is the audience of tokens for it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Identifier string `json:"identifier"`
	// uid of the ResourceServer. One that is created again under the identifier has another.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	UID types.UID `json:"uid"`
	// scopes of the ResourceServer that were allowed; none: it may be called without any.
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=atomic
	// +optional
	Scopes []string `json:"scopes,omitempty"`
}

// OAuthGrantSpec is one authorization: of a user to a client, by a code or by a password. It holds no token, no code, and nothing that one
// could be made from: tokens are sealed values that name a grant, and the keys that seal them are elsewhere.
type OAuthGrantSpec struct {
	// serverRef names the AuthorizationServer, in the same namespace.
	ServerRef LocalServerReference `json:"serverRef"`
	// serverUID is the UID of the AuthorizationServer. One that is created again knows nothing of the grants before.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ServerUID types.UID `json:"serverUID"`

	// id of the grant: a hash.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ID string `json:"id"`
	// incarnation is random; tokens of another incarnation are not of this grant.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Incarnation string `json:"incarnation,omitempty"`
	// attempt identifies the request that wrote last, so that it knows its own write again when the answer was lost.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Attempt string `json:"attempt,omitempty"`

	// username of the user when the grant began; for people, nothing depends on it.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Username string `json:"username,omitempty"`
	// subject is the `sub` of the tokens.
	// +kubebuilder:validation:MaxLength=255
	// +optional
	Subject string `json:"subject,omitempty"`
	// userUID is the UID of the user.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	UserUID string `json:"userUID,omitempty"`
	// userEpoch is that of the user when the grant began. A new password makes a new one, and ends the grants of the old.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	UserEpoch string `json:"userEpoch,omitempty"`

	// clientID of the client.
	// +kubebuilder:validation:MaxLength=255
	// +optional
	ClientID string `json:"clientID,omitempty"`
	// clientUID is the UID of the client.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	ClientUID string `json:"clientUID,omitempty"`

	// sessionHash is a hash of the root of the session in which the user authorized the client; empty for the password grant.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	SessionHash string `json:"sessionHash,omitempty"`
	// authTime is when the user logged in.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	AuthTime *metav1.MicroTime `json:"authTime,omitempty"`
	// amr says how the user logged in (RFC 8176).
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=atomic
	// +optional
	AMR []string `json:"amr,omitempty"`

	// scope that was granted: the scopes with spaces between (RFC 6749 section 3.3).
	// +kubebuilder:validation:MaxLength=65791
	// +kubebuilder:validation:Pattern=`^[!#-\[\]-~]{1,256}( [!#-\[\]-~]{1,256})*$`
	// +optional
	Scope string `json:"scope,omitempty"`
	// resources that were asked for (RFC 8707); none: the owners of the scopes.
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=2048
	// +listType=atomic
	// +optional
	Resources []string `json:"resources,omitempty"`
	// apis are the ResourceServers that the scopes and resources are of. One that is created again
	// under its identifier is another, which the grant does not reach.
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	// +optional
	APIs []AuthorizedAPI `json:"apis,omitempty"`
	// claims about the user that were granted one by one, beyond those of the scopes (OpenID
	// Connect Core section 5.5).
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=atomic
	// +optional
	Claims []string `json:"claims,omitempty"`
	// redirectURI that the code was sent to; empty for the password grant.
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	RedirectURI string `json:"redirectURI,omitempty"`
	// nonce of the authentication request (OpenID Connect Core section 3.1.2.1).
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Nonce string `json:"nonce,omitempty"`
	// claimsRequest is the parameter claims of the authentication request (OpenID Connect Core section 5.5).
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	ClaimsRequest string `json:"claimsRequest,omitempty"`

	// consented: the authorization rests on an OAuthConsent, and ends with it.
	// +optional
	Consented bool `json:"consented,omitempty"`
	// consentUID is the UID of that OAuthConsent. One that is written after a withdrawal is
	// another.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=128
	// +optional
	ConsentUID types.UID `json:"consentUID,omitempty"`
	// offline: the refresh token outlives the session.
	// +optional
	Offline bool `json:"offline,omitempty"`
	// generation of the refresh token that is current; none: the grant has no refresh token.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	// +optional
	Generation int64 `json:"generation,omitempty"`
	// advancedAt is when the generation became current.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	AdvancedAt *metav1.MicroTime `json:"advancedAt,omitempty"`
	// sealKID names the key that the current refresh token is sealed with.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	SealKID string `json:"sealKID,omitempty"`

	// createdAt is when the user authorized the client, by the token server's clock.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	CreatedAt *metav1.MicroTime `json:"createdAt,omitempty"`
	// lastUsedAt is when the grant was last refreshed, or began.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	LastUsedAt *metav1.MicroTime `json:"lastUsedAt,omitempty"`
	// refreshUntil is when refreshing ends for good; none: the grant has no refresh token.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	RefreshUntil *metav1.MicroTime `json:"refreshUntil,omitempty"`
	// expiresAt is when the grant can authorise nothing any more; the object is deleted soon after.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	ExpiresAt metav1.MicroTime `json:"expiresAt"`
	// endedAt is when the grant was ended; none: it is good until it expires.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	EndedAt *metav1.MicroTime `json:"endedAt,omitempty"`
	// endReason says why it was ended: CodeReuse, RefreshTokenReuse, Revoked, ConsentWithdrawn, Bound or Unanswered.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	EndReason string `json:"endReason,omitempty"`
}

// OAuthGrant is one authorization of a user to a client. Token servers write it; deleting it revokes its tokens at once.
//
// +kubebuilder:object:root=true
// +kubebuilder:printcolumn:name="User",type=string,JSONPath=`.spec.username`
// +kubebuilder:printcolumn:name="Client",type=string,JSONPath=`.spec.clientID`
// +kubebuilder:printcolumn:name="Scope",type=string,JSONPath=`.spec.scope`
// +kubebuilder:printcolumn:name="Last used",type=date,JSONPath=`.spec.lastUsedAt`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`
// +kubebuilder:printcolumn:name="Ended",type=string,JSONPath=`.spec.endReason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Server",type=string,JSONPath=`.spec.serverRef.name`,priority=1
// +kubebuilder:printcolumn:name="Subject",type=string,JSONPath=`.spec.subject`,priority=1
// +kubebuilder:printcolumn:name="Offline",type=boolean,JSONPath=`.spec.offline`,priority=1
type OAuthGrant struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the authorization, as a token server wrote it.
	Spec OAuthGrantSpec `json:"spec"`
}

// OAuthGrantList is a list of OAuthGrants.
//
// +kubebuilder:object:root=true
type OAuthGrantList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []OAuthGrant `json:"items"`
}
