package v1alpha1

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TokenEndpointAuthMethod is how a client authenticates at the token endpoint (RFC 7591 section 2).
// +kubebuilder:validation:Enum=client_secret_basic;client_secret_post;private_key_jwt;WorkloadIdentity;none
type TokenEndpointAuthMethod string

const (
	// AuthMethodBasic sends the secret in the Authorization header (RFC 6749 section 2.3.1).
	AuthMethodBasic TokenEndpointAuthMethod = "client_secret_basic"
	// AuthMethodPost sends the secret in the form.
	AuthMethodPost TokenEndpointAuthMethod = "client_secret_post"
	// AuthMethodWorkloadIdentity sends the token that the platform gave to the workload as the
	// client_assertion (RFC 7523 section 2.2).
	AuthMethodWorkloadIdentity TokenEndpointAuthMethod = "WorkloadIdentity"
	// AuthMethodPrivateKey sends a JWT that the client has signed (RFC 7523, OpenID Connect Core
	// section 9).
	AuthMethodPrivateKey TokenEndpointAuthMethod = "private_key_jwt"
	// AuthMethodNone is a public client, which cannot keep a secret.
	AuthMethodNone TokenEndpointAuthMethod = "none"
)

// UsesSecret reports whether a client with the method has a client secret.
func (m TokenEndpointAuthMethod) UsesSecret() bool {
	return m == AuthMethodBasic || m == AuthMethodPost
}

// PKCEMode is whether a client must use PKCE (RFC 7636).
// +kubebuilder:validation:Enum=Required;WhenSent
type PKCEMode string

const (
	// PKCERequired refuses an authorization request without a code_challenge.
	PKCERequired PKCEMode = "Required"
	// PKCEWhenSent verifies a code_challenge that is sent and requires none; for confidential
	// clients only.
	PKCEWhenSent PKCEMode = "WhenSent"
)

// SecretSource is where a client secret comes from. It does not depend on which Secrets exist.
// +kubebuilder:validation:Enum=Generate;FromSecret
type SecretSource string

const (
	// SecretGenerate means that the operator generates the secret and writes it into the target
	// Secret.
	SecretGenerate SecretSource = "Generate"
	// SecretFromSecret takes the secret from a Secret that the operator does not write.
	SecretFromSecret SecretSource = "FromSecret"
)

// OAuthClientSpec is what the application team asks for.
//
// +kubebuilder:validation:XValidation:rule=`has(self.clientID) == has(oldSelf.clientID) && (!has(self.clientID) || self.clientID == oldSelf.clientID)`,fieldPath=".clientID",message="clientID is immutable, and can be neither added nor removed: delete the object and create it again for another client id"
// +kubebuilder:validation:XValidation:rule=`!('authorization_code' in self.grantTypes || 'implicit' in self.grantTypes) || (has(self.redirectURIs) && self.redirectURIs.size() > 0)`,fieldPath=".redirectURIs",message="redirectURIs is required with the grant types authorization_code and implicit: add the URI that the response goes to"
// +kubebuilder:validation:XValidation:rule=`'authorization_code' in self.grantTypes || 'implicit' in self.grantTypes || !has(self.redirectURIs) || self.redirectURIs.size() == 0`,fieldPath=".redirectURIs",message="redirectURIs must be left out without the grant types authorization_code and implicit, since no response is sent there"
// +kubebuilder:validation:XValidation:rule=`'authorization_code' in self.grantTypes || 'implicit' in self.grantTypes || !has(self.postLogoutRedirectURIs) || self.postLogoutRedirectURIs.size() == 0`,fieldPath=".postLogoutRedirectURIs",message="postLogoutRedirectURIs must be left out without the grant types authorization_code and implicit, since no user signs in"
// +kubebuilder:validation:XValidation:rule=`!('password' in self.grantTypes) || !(self.tokenEndpointAuthMethod == 'none')`,fieldPath=".tokenEndpointAuthMethod",message="the grant type password needs a confidential client: set tokenEndpointAuthMethod to client_secret_basic, or to another value than none"
// +kubebuilder:validation:XValidation:rule=`!('client_credentials' in self.grantTypes) || !(self.tokenEndpointAuthMethod == 'none')`,fieldPath=".tokenEndpointAuthMethod",message="the grant type client_credentials needs a confidential client: set tokenEndpointAuthMethod to client_secret_basic, or to another value than none"
// +kubebuilder:validation:XValidation:rule=`!('refresh_token' in self.grantTypes) || 'authorization_code' in self.grantTypes || 'password' in self.grantTypes`,fieldPath=".grantTypes",message="the grant type refresh_token needs authorization_code or password beside it in grantTypes: no other grant type issues refresh tokens"
// +kubebuilder:validation:XValidation:rule=`!has(self.pkce) || self.pkce != 'WhenSent' || ('authorization_code' in self.grantTypes && !(self.tokenEndpointAuthMethod == 'none'))`,fieldPath=".pkce",message="pkce: WhenSent is for confidential clients with the grant type authorization_code only: leave pkce out"
// +kubebuilder:validation:XValidation:rule=`!has(self.secret) || self.tokenEndpointAuthMethod in ['client_secret_basic', 'client_secret_post']`,fieldPath=".secret",message="secret is for clients that have one: leave it out, or set tokenEndpointAuthMethod to client_secret_basic or client_secret_post"
// +kubebuilder:validation:XValidation:rule=`self.tokenEndpointAuthMethod != 'private_key_jwt' || [has(self.jwks), has(self.jwksURI), has(self.jwksSecretRef)].exists_one(set, set)`,fieldPath=".jwks",message="with tokenEndpointAuthMethod: private_key_jwt exactly one of jwks, jwksURI and jwksSecretRef says where the public keys of the client are"
// +kubebuilder:validation:XValidation:rule=`self.tokenEndpointAuthMethod == 'private_key_jwt' || !(has(self.jwks) || has(self.jwksURI) || has(self.jwksSecretRef))`,fieldPath=".jwks",message="jwks, jwksURI and jwksSecretRef are for clients that sign with their own key: leave them out, or set tokenEndpointAuthMethod to private_key_jwt"
// +kubebuilder:validation:XValidation:rule=`self.tokenEndpointAuthMethod != 'WorkloadIdentity' || has(self.workloadIdentities)`,fieldPath=".workloadIdentities",message="workloadIdentities is required with tokenEndpointAuthMethod: WorkloadIdentity: list who may be this client, such as {serviceAccount: {name: web}}"
// +kubebuilder:validation:XValidation:rule=`self.tokenEndpointAuthMethod == 'WorkloadIdentity' || !has(self.workloadIdentities)`,fieldPath=".workloadIdentities",message="workloadIdentities goes with tokenEndpointAuthMethod: WorkloadIdentity only: remove workloadIdentities, or set the method"
type OAuthClientSpec struct {
	// serverRef names the AuthorizationServer. Immutable.
	// +kubebuilder:validation:XValidation:rule=`self == oldSelf`,message="serverRef is immutable, its namespace too: delete the object and create it again to move it to another AuthorizationServer"
	ServerRef ServerReference `json:"serverRef"`

	// clientID is the client identifier (RFC 6749 section 2.2), of the characters A-Z a-z 0-9 . _ ~
	// -. An id outside "<own namespace>." needs a rule of the server. Immutable. Default:
	// "<namespace>.<name>".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[A-Za-z0-9._~-]+$')`,message="clientID has the characters A-Z a-z 0-9 . _ ~ - only, which every client library sends unchanged"
	// +kubebuilder:validation:XValidation:rule=`!self.startsWith('~')`,message="clientID does not begin with ~, as the subjects of users from identity providers do: choose another id"
	// +optional
	ClientID string `json:"clientID,omitempty"`

	// displayName is what the consent page calls the client. Default: the client id.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule=`!self.matches('[\\x{00}-\\x{1f}\\x{7f}-\\x{9f}\\x{200e}\\x{200f}\\x{2028}-\\x{202e}\\x{2066}-\\x{2069}]')`,message="displayName must not contain control characters, line breaks or characters that change the direction of text"
	// +optional
	DisplayName string `json:"displayName,omitempty"`

	// grantTypes are the grant types that the client uses: authorization_code, implicit, password,
	// client_credentials and refresh_token (only beside authorization_code or password). password
	// and client_credentials need a confidential client; implicit and password also a rule of the
	// server that lists them.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5
	// +kubebuilder:validation:XValidation:rule=`self.all(x, self.exists_one(y, y == x))`,message="grantTypes must not contain a grant type twice"
	// +listType=atomic
	GrantTypes []GrantType `json:"grantTypes"`

	// tokenEndpointAuthMethod is how the client authenticates: client_secret_basic,
	// client_secret_post, private_key_jwt or WorkloadIdentity for confidential clients, none for
	// public ones.
	TokenEndpointAuthMethod TokenEndpointAuthMethod `json:"tokenEndpointAuthMethod"`

	// redirectURIs to which authorization responses may be sent; for authorization_code and
	// implicit, and required there. https, or http with a loopback host, or a private-use scheme
	// that a rule of the server allows (RFC 8252 section 7.1; one without a dot is for public
	// clients with consent only); absolute, without fragment, user name and wildcard. Compared
	// exactly, but a URI whose host is a loopback IP literal matches any port (RFC 8252 section
	// 7.3).
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule=`self.all(x, self.exists_one(y, y == x))`,message="redirectURIs must not contain a URI twice"
	// +listType=atomic
	// +optional
	RedirectURIs []RedirectURI `json:"redirectURIs,omitempty"`

	// postLogoutRedirectURIs to which the browser may be sent after the user has signed out (OpenID
	// Connect RP-Initiated Logout 1.0 section 3.1); for authorization_code and implicit. The same
	// rules as for redirectURIs, but compared exactly without exception, the port too. Default:
	// none.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule=`self.all(x, self.exists_one(y, y == x))`,message="postLogoutRedirectURIs must not contain a URI twice"
	// +listType=atomic
	// +optional
	PostLogoutRedirectURIs []RedirectURI `json:"postLogoutRedirectURIs,omitempty"`

	// scopes that the client may request: built-in ones (openid, profile, email, address, phone,
	// groups, offline_access) and those that ResourceServers declare. Default: none.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule=`self.all(x, self.exists_one(y, y == x))`,message="scopes must not contain a scope twice"
	// +listType=atomic
	// +optional
	Scopes []Scope `json:"scopes,omitempty"`

	// pkce is Required, or WhenSent for confidential clients with authorization_code (RFC 7636).
	// Default: Required.
	// +optional
	PKCE PKCEMode `json:"pkce,omitempty"`

	// consent is Required, or Skip where a rule of the server allows it. Default: Required.
	// +optional
	Consent ConsentMode `json:"consent,omitempty"`

	// secret is where the client secret comes from and where it is written. For confidential
	// clients only. Default: Generate into "<name>-oauth".
	// +optional
	Secret *ClientSecret `json:"secret,omitempty"`

	// workloadIdentities are the workloads that may be this client, for tokenEndpointAuthMethod
	// WorkloadIdentity. A rule of the server has to allow the issuer of each.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule=`self.all(x, self.exists_one(y, y == x))`,message="workloadIdentities must not contain an identity twice"
	// +listType=atomic
	// +optional
	WorkloadIdentities []WorkloadIdentity `json:"workloadIdentities,omitempty"`
	// jwks are the public keys of a client that signs with its own key. For private_key_jwt, which
	// needs this, jwksURI or jwksSecretRef.
	// +optional
	JWKS *ClientKeys `json:"jwks,omitempty"`

	// jwksURI is where the client publishes its public keys (RFC 7591 section 2). Token servers
	// fetch it every five minutes, and at once for a key that they do not know. A host at a private
	// address has to be listed in the server's spec.fetch.jwksHosts.
	// +optional
	JWKSURI JWKSURI `json:"jwksURI,omitempty"`

	// jwksSecretRef names a Secret with the client's key: a JWK or a JWK Set, or keys or
	// certificates in PEM. They may be private: only the public part is used.
	// +optional
	JWKSSecretRef *SecretKeyReference `json:"jwksSecretRef,omitempty"`

	// configMap has the operator write a ConfigMap with what the application needs and is not
	// secret: client_id, issuer and the endpoints, as in the Secret. For every client, public ones
	// too. Default: none.
	// +optional
	ConfigMap *ConfigMapTarget `json:"configMap,omitempty"`

	// idTokenSignedResponseAlg is the algorithm of the client's ID tokens; one of the server's.
	// Default: RS256.
	// +optional
	IDTokenSignedResponseAlg SigningAlgorithm `json:"idTokenSignedResponseAlg,omitempty"`

	// idTokenClaims are user claims to put into the ID token and into the userinfo answer, whatever
	// the scope. Default: none.
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	// +optional
	IDTokenClaims []ClaimName `json:"idTokenClaims,omitempty"`

	// accessTokenLifetime is how long the client's access tokens are valid. Default: the server's.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')`,message="accessTokenLifetime must be a duration from 1s to 24h in whole h, m and s, such as 5m"
	// +optional
	AccessTokenLifetime *metav1.Duration `json:"accessTokenLifetime,omitempty"`

	// tokensNotBefore voids what the client got in that second or before: access tokens, codes and
	// refresh tokens. A time in the future does so when it comes. Nothing is deleted: a lower time
	// makes what has not expired good again. Default: nothing is void.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$') && timestamp(self) >= timestamp('1970-01-01T00:00:00Z')`,message="tokensNotBefore must be a time since 1970 in UTC, such as 2026-11-01T00:00:00Z"
	// +optional
	TokensNotBefore *metav1.Time `json:"tokensNotBefore,omitempty"`

	// suspended has token servers refuse the client within a second. It deletes nothing.
	// +optional
	Suspended bool `json:"suspended,omitempty"`
}

// ClientSecret is where a client secret comes from and where it is written.
//
// +kubebuilder:validation:XValidation:rule=`self.source == 'FromSecret' || !has(self.fromSecret)`,fieldPath=".fromSecret",message="fromSecret goes with source: FromSecret only: remove fromSecret, or set source to FromSecret"
// +kubebuilder:validation:XValidation:rule=`self.source != 'FromSecret' || has(self.fromSecret)`,fieldPath=".fromSecret",message="fromSecret is required with source: FromSecret: name the Secret and the key that hold the value"
// +kubebuilder:validation:XValidation:rule=`!has(self.fromSecret) || !has(self.target) || self.target.name != self.fromSecret.name`,fieldPath=".target",message="target.name must not be the Secret that fromSecret names, which is never changed: name another, or leave out target"
// +kubebuilder:validation:XValidation:rule=`self.source != 'FromSecret' || !has(self.rotation) || (!has(self.rotation.interval) && !has(self.rotation.revision) && !has(self.rotation.retireWhen) && !has(self.rotation.maxOverlap))`,fieldPath=".rotation",message="with source: FromSecret, rotation has only overlap: change the value in the Secret that fromSecret names to rotate it"
type ClientSecret struct {
	// source is Generate or FromSecret.
	Source SecretSource `json:"source"`

	// fromSecret names the Secret that holds the value; for source FromSecret.
	// +optional
	FromSecret *SecretKeyReference `json:"fromSecret,omitempty"`

	// target is the Secret that the operator writes for the workload. Default: "<name>-oauth" for
	// source Generate, none for FromSecret.
	// +optional
	Target *SecretTarget `json:"target,omitempty"`

	// rotation is when the secret is replaced, and how long the one before stays good. Default: it
	// is replaced when its Secret is edited or deleted, with an overlap of 24h.
	// +optional
	Rotation *SecretRotation `json:"rotation,omitempty"`

	// revokedCredentials are the ids in status.credentials of secrets that have leaked: they are not
	// accepted any more, at once, and their values never again. The Active one is replaced.
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	// +optional
	RevokedCredentials []CredentialID `json:"revokedCredentials,omitempty"`
}

// SecretTarget is the Secret that a workload mounts.
//
// +kubebuilder:object:generate=false
type SecretTarget struct {
	// name of the Secret, in the client's namespace; not one that ends with -tokenserver-keys or
	// -tokenserver-upstreams.
	// +kubebuilder:validation:XValidation:rule=`!self.endsWith('-tokenserver-keys') && !self.endsWith('-tokenserver-upstreams')`,message="target.name must not end with -tokenserver-keys or -tokenserver-upstreams: Secrets of such names belong to AuthorizationServers"
	Name ObjectName `json:"name"`

	// labels to put on the Secret; not with a prefix of Kubernetes or of this operator, but for
	// app.kubernetes.io/.
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule=`self.all(k, (k.startsWith('app.kubernetes.io/') && k != 'app.kubernetes.io/managed-by') || !k.matches('^([^/]*[.])?(kubernetes[.]io|k8s[.]io|oauth-operator[.]dev)/'))`,message="labels must not have the prefixes kubernetes.io/, k8s.io/ and oauth-operator.dev/ or their subdomains: they belong to Kubernetes and to this operator; but app.kubernetes.io/ may be used, except app.kubernetes.io/managed-by"
	// +kubebuilder:validation:XValidation:rule=`self.all(k, !format.qualifiedName().validate(k).hasValue())`,message="a key in labels must be a qualified name as Kubernetes wants it, such as example.com/team or team"
	// +optional
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations to put on the Secret; not with a prefix of Kubernetes or of this operator, but
	// for app.kubernetes.io/.
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule=`self.all(k, (k.startsWith('app.kubernetes.io/') && k != 'app.kubernetes.io/managed-by') || !k.matches('^([^/]*[.])?(kubernetes[.]io|k8s[.]io|oauth-operator[.]dev)/'))`,message="annotations must not have the prefixes kubernetes.io/, k8s.io/ and oauth-operator.dev/ or their subdomains: they belong to Kubernetes and to this operator; but app.kubernetes.io/ may be used, except app.kubernetes.io/managed-by"
	// +kubebuilder:validation:XValidation:rule=`self.all(k, !format.qualifiedName().validate(k).hasValue())`,message="a key in annotations must be a qualified name as Kubernetes wants it, such as example.com/team or team"
	// +optional
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`

	// data are further keys: texts with $(client_id), $(client_secret), $(issuer), each endpoint by
	// its name in the server's metadata such as $(token_endpoint), $(redirect_uri) for the first of
	// redirectURIs, $(scope), $(namespace) and $(name) of the client. |b64enc, |urlquery or |json
	// behind a name encodes the value, as in $(client_secret|json); $$( is a plain $(. A key may
	// replace a default one, but not client_secret. What it makes has at most 64 KiB, counted with
	// the longest client secret that may be. Default: none.
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule=`self.all(k, k.matches('^[-._a-zA-Z0-9]{1,253}$') && k != '.' && !k.startsWith('..'))`,message="a key in target.data has 1 to 253 of the characters A-Z a-z 0-9 - _ . and does not begin with .."
	// +kubebuilder:validation:XValidation:rule=`!('client_secret' in self)`,message="target.data must not replace the key client_secret, which always has the bare value: choose another key"
	// +kubebuilder:validation:XValidation:rule=`self.map(k, self[k].size()).sum() <= 65536`,message="the texts in target.data may have 65536 characters together"
	// +optional
	Data map[string]DataText `json:"data,omitempty"`

	// deletionPolicy is Delete, or Retain to keep the Secret when the client is deleted: a client
	// of the same name that is created later takes it up again with its value. Default: Delete.
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// DeepCopyInto copies t into out. It is written by hand, because the generator knows no maps of
// aliases.
func (t *SecretTarget) DeepCopyInto(out *SecretTarget) {
	*out = *t
	out.Labels = maps.Clone(t.Labels)
	out.Annotations = maps.Clone(t.Annotations)
	out.Data = maps.Clone(t.Data)
}

// DeepCopy returns a copy of t.
func (t *SecretTarget) DeepCopy() *SecretTarget {
	if t == nil {
		return nil
	}
	out := new(SecretTarget)
	t.DeepCopyInto(out)
	return out
}

// CredentialState is the state of a credential: Pending (accepted, not yet in the Secret), then
// Active, then Retiring.
// +kubebuilder:validation:Enum=Pending;Active;Retiring
type CredentialState string

const (
	// CredentialPending is a credential that token servers accept and the Secret does not hold yet.
	CredentialPending CredentialState = "Pending"
	// CredentialActive is the credential that the Secret holds.
	CredentialActive CredentialState = "Active"
	// CredentialRetiring is a credential that was replaced, and that token servers accept until
	// retireAfter.
	CredentialRetiring CredentialState = "Retiring"
)

// CredentialStatus describes one credential of a client.
type CredentialStatus struct {
	// id of the credential. It reveals nothing about the value.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ID string `json:"id"`

	// state is Pending (accepted, not yet in the Secret), Active or Retiring.
	State CredentialState `json:"state"`

	// notBefore is when the credential was created.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	NotBefore *metav1.Time `json:"notBefore,omitempty"`

	// retireAfter is when a Retiring credential ends at the latest.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	RetireAfter *metav1.Time `json:"retireAfter,omitempty"`

	// lastUsed is when a token server last accepted the credential, to the hour.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	LastUsed *metav1.Time `json:"lastUsed,omitempty"`
}

// OAuthClientStatus is what the manager and the token servers report.
type OAuthClientStatus struct {
	// observedGeneration is the generation of the spec that the conditions are about.
	// +kubebuilder:validation:Minimum=0
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// clientID is the client identifier in use. The client keeps it while the server does not exist
	// or its Entries are lost.
	// +kubebuilder:validation:MaxLength=317
	// +optional
	ClientID string `json:"clientID,omitempty"`

	// conditions: Accepted, ResolvedRefs, CredentialsReady, Programmed, Ready, and LegacyGrant
	// where a legacy grant type is in use.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule=`self.all(c, c.lastTransitionTime >= timestamp('1970-01-01T00:00:00Z'))`,message="lastTransitionTime must be a time as in RFC 3339, since 1970"
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// credentials of the client, newest first.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=id
	// +optional
	Credentials []CredentialStatus `json:"credentials,omitempty"`

	// nextRotation is when the secret is replaced, if spec.secret.rotation has an interval.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	NextRotation *metav1.Time `json:"nextRotation,omitempty"`

	// authentication is how the client authenticates, and since when.
	// +optional
	Authentication *AuthenticationStatus `json:"authentication,omitempty"`

	// legacyUntil is when the grant types implicit and password of the client end, by the rule of
	// the server that accepts it.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	LegacyUntil *metav1.Time `json:"legacyUntil,omitempty"`

	// secretName is the Secret that the workload mounts.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	SecretName string `json:"secretName,omitempty"`
}

// OAuthClient is an OAuth 2.0 client of an AuthorizationServer.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels="oauth-operator.dev/uninstall=keep"
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=oac,categories=oauth
// +kubebuilder:printcolumn:name="Client ID",type=string,JSONPath=`.status.clientID`
// +kubebuilder:printcolumn:name="Auth",type=string,JSONPath=`.spec.tokenEndpointAuthMethod`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Server",type=string,JSONPath=`.spec.serverRef.name`,priority=1
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=`.status.secretName`,priority=1
// +kubebuilder:printcolumn:name="Secret Age",type=date,JSONPath=`.status.credentials[?(@.state=="Active")].notBefore`,priority=1
// +kubebuilder:printcolumn:name="Next Rotation",type=string,JSONPath=`.status.nextRotation`,priority=1
// +kubebuilder:printcolumn:name="Suspended",type=boolean,JSONPath=`.spec.suspended`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:validation:XValidation:rule=`self.metadata.name.size() <= 191`,message="metadata.name of an OAuthClient has at most 191 characters, because the default client id <namespace>.<name> must fit into 255"
type OAuthClient struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the application team asks for.
	Spec OAuthClientSpec `json:"spec"`
	// status is what the manager and the token servers report.
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "The manager has not processed the object yet. If this does not change, check that the manager is running.", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Ready", status: "Unknown", reason: "Pending", message: "The manager has not processed the object yet. If this does not change, check that the manager is running.", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	// +optional
	Status OAuthClientStatus `json:"status,omitempty"`
}

// OAuthClientList is a list of OAuthClients.
//
// +kubebuilder:object:root=true
type OAuthClientList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []OAuthClient `json:"items"`
}
