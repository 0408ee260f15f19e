package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ServerUIDLabel is on every OAuthGrant and OAuthConsent and holds the UID of the
// AuthorizationServer. Token servers select the objects of their AuthorizationServer by it.
const ServerUIDLabel = "oauth-operator.dev/server-uid"

// UserLabel and ClientLabel are on every OAuthGrant and OAuthConsent and hold hashes of the UIDs of
// the user and of the client. With a label of one object, kubectl selects all of the same user or
// client.
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
	// uid of the ResourceServer. A ResourceServer that is created again has another UID.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	UID types.UID `json:"uid"`
	// scopes of the ResourceServer that the user allowed. Empty if the client asked for the API by
	// the parameter resource alone (RFC 8707).
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=atomic
	// +optional
	Scopes []string `json:"scopes,omitempty"`
}

// OAuthGrantSpec describes one authorization of a client by a user: by an authorization code or by
// a password. It holds no token and no code, and none can be made from it: tokens are sealed values
// that name the grant, and the keys that seal them are in a Secret that token servers mount.
//
// It is atomic, since it has one writer: the API server keeps who wrote a field in memory and in
// etcd, for each field of a spec that is not, which is several times the grant itself.
//
// +structType=atomic
type OAuthGrantSpec struct {
	// serverRef names the AuthorizationServer, in the same namespace.
	ServerRef LocalServerReference `json:"serverRef"`
	// serverUID is the UID of the AuthorizationServer. An AuthorizationServer that is created again
	// has another UID and does not use this grant.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ServerUID types.UID `json:"serverUID"`

	// id of the grant, a hash that its tokens carry in sealed form.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ID string `json:"id"`

	// username of the user when the grant was created. It is informative: token servers do not read
	// it.
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
	// userEpoch is the epoch of the user's password when the grant was created: a random value that
	// changes with the password. A token server refuses a grant of another epoch.
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

	// sessionHash is a hash of the id of the browser session in which the user authorized the
	// client. Empty for the password grant.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	SessionHash string `json:"sessionHash,omitempty"`
	// authTime is when the user authenticated. Empty if the identity provider did not say.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	AuthTime *metav1.MicroTime `json:"authTime,omitempty"`
	// amr lists how the user authenticated (RFC 8176).
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=atomic
	// +optional
	AMR []string `json:"amr,omitempty"`
	// providerUID is the UID of the identity provider that the user signed in at. Empty for an
	// OAuthUser.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=128
	// +optional
	ProviderUID types.UID `json:"providerUID,omitempty"`
	// signedInAt is when the user came from there, by the token server's clock. Empty for an
	// OAuthUser.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	SignedInAt *metav1.MicroTime `json:"signedInAt,omitempty"`

	// scope that was granted, a space-delimited list (RFC 6749 section 3.3).
	// +kubebuilder:validation:MaxLength=65791
	// +kubebuilder:validation:Pattern=`^[!#-\[\]-~]{1,256}( [!#-\[\]-~]{1,256})*$`
	// +optional
	Scope string `json:"scope,omitempty"`
	// resources that the client asked for (RFC 8707). Default: the owners of the scopes.
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=2048
	// +listType=atomic
	// +optional
	Resources []string `json:"resources,omitempty"`
	// apis are the ResourceServers that the scopes and resources belong to. The grant does not
	// cover a ResourceServer that is created again.
	// +kubebuilder:validation:MaxItems=256
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
	// redirectURI that the code was sent to. Empty for the password grant.
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	RedirectURI string `json:"redirectURI,omitempty"`
	// nonce of the authentication request (OpenID Connect Core section 3.1.2.1).
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Nonce string `json:"nonce,omitempty"`
	// claimsRequest is the parameter claims of the authentication request (OpenID Connect Core
	// section 5.5).
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	ClaimsRequest string `json:"claimsRequest,omitempty"`

	// consented is true if the authorization needs an OAuthConsent and ends with it.
	// +optional
	Consented bool `json:"consented,omitempty"`
	// consentUID is the UID of that OAuthConsent. A consent that the user gives after a withdrawal
	// has another UID.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=128
	// +optional
	ConsentUID types.UID `json:"consentUID,omitempty"`
	// offline is true if the refresh token outlives the session, by the scope offline_access or
	// because there is no session (the password grant).
	// +optional
	Offline bool `json:"offline,omitempty"`
	// refreshTokenNumber is the number of the refresh token that is current, counted from 1: a
	// rotation replaces it by the next. Empty if the grant has no refresh token.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	// +optional
	RefreshTokenNumber int64 `json:"refreshTokenNumber,omitempty"`
	// refreshTokenIssuedAt is when that refresh token was issued.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	RefreshTokenIssuedAt *metav1.MicroTime `json:"refreshTokenIssuedAt,omitempty"`

	// createdAt is when the grant was created, by the token server's clock.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	CreatedAt *metav1.MicroTime `json:"createdAt,omitempty"`
	// lastUsedAt is when the client last refreshed its tokens, up to an hour late if it keeps its
	// refresh token. Before the first time it is createdAt.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	LastUsedAt *metav1.MicroTime `json:"lastUsedAt,omitempty"`
	// refreshUntil is when the client can refresh its tokens no longer. Empty if the grant has no
	// refresh token.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	RefreshUntil *metav1.MicroTime `json:"refreshUntil,omitempty"`
	// expiresAt is when the last token of the grant has expired. A token server deletes the object
	// soon after.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	ExpiresAt metav1.MicroTime `json:"expiresAt"`
	// endedAt is when the grant was ended before it expired, by a token server.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	EndedAt *metav1.MicroTime `json:"endedAt,omitempty"`
	// endReason is why the grant was ended: CodeReuse, RefreshTokenReuse, Revoked,
	// ConsentWithdrawn or Bound.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	EndReason string `json:"endReason,omitempty"`

	// tokenServerState is the token server's own. It is of no use to others, and may change
	// between versions.
	// +optional
	TokenServerState TokenServerState `json:"tokenServerState,omitzero"`
}

// TokenServerState is what token servers keep in an OAuthGrant for themselves.
type TokenServerState struct {
	// incarnation is random. Each token of the grant carries it, so that a token of a deleted grant
	// does not match a grant that was created again under its id.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Incarnation string `json:"incarnation,omitempty"`
	// attempt is the random id of the request that wrote the object last. A token server recognizes
	// its own write by it after the answer of the API server was lost.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Attempt string `json:"attempt,omitempty"`
	// sealingKID is the id of the key that the current refresh token is sealed with.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	SealingKID string `json:"sealingKID,omitempty"`
}

// OAuthGrant is one authorization of a client by a user. Token servers write it. Deleting it
// revokes its tokens at once.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels="oauth-operator.dev/uninstall=keep"
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
