package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AuthorizationServerSpec is what the platform team decides: the issuer, who may use it, and how
// long its tokens live.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.workloadIssuers) || self.workloadIssuers.all(i, !has(i.jwt) || i.jwt.issuer != self.issuer)`,fieldPath=".workloadIssuers",message="workloadIssuers must not contain the server's own issuer: its tokens are for APIs, not for authenticating clients"
// +kubebuilder:validation:XValidation:rule=`!has(self.allowedClients) || self.allowedClients.all(r, !has(r.workloadIssuers) || r.workloadIssuers.all(n, has(self.workloadIssuers) && self.workloadIssuers.exists(i, i.name == n)))`,fieldPath=".allowedClients",message="workloadIssuers of a rule names an issuer that the server does not have: correct the name, or add the issuer to spec.workloadIssuers"
type AuthorizationServerSpec struct {
	// issuer is the issuer identifier (RFC 8414 section 2): a URL with a lower-case host, no
	// default port, no trailing slash, no query and no fragment. https, except for loopback hosts.
	// A path is allowed. Immutable.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self == oldSelf`,message="issuer is immutable, because tokens and clients carry it: create another AuthorizationServer for another issuer"
	// +kubebuilder:validation:XValidation:rule=`self.matches('^(?i:https)://') || self.matches('^(?i:http)://([^/?#]*@)?(localhost|127([.](25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}|\\[::1\\])(:[0-9]*)?(/|$)')`,message="issuer must start with https:// (http:// is for the loopback hosts localhost, 127.0.0.1 and [::1] only)"
	// +kubebuilder:validation:XValidation:rule=`!self.contains('?') && !self.contains('#')`,message="issuer must have no query and no fragment: remove what begins with ? or #"
	// +kubebuilder:validation:XValidation:rule=`!self.contains('@')`,message="issuer must have no user name or password: remove what stands before the @"
	// +kubebuilder:validation:XValidation:rule=`!self.endsWith('/')`,message="issuer must have no trailing slash: remove the / at the end"
	// +kubebuilder:validation:XValidation:rule=`!self.matches('^[A-Za-z]+://[^/]*[A-Z]') && !self.matches('^[a-z]*[A-Z]')`,message="issuer must have a lower-case scheme and host"
	// +kubebuilder:validation:XValidation:rule=`!self.matches('^https://[^/]*:443(/|$)') && !self.matches('^http://[^/]*:80(/|$)')`,message="issuer must not name the default port: remove :443 (https) or :80 (http)"
	// +kubebuilder:validation:XValidation:rule=`!self.matches('^(?i:https?)://') || (self.matches('^[A-Za-z]+://([^/?#]*@)?([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|\\[[0-9A-Fa-f:.]+\\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?([/?#]|$)') && (self.contains('#') || isURL(self)) && (!self.matches('^[A-Za-z]+://([^/?#]*@)?[0-9.]+([:/?#]|$)') || self.matches('^[A-Za-z]+://([^/?#]*@)?(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}([:/?#]|$)')))`,message="issuer must name a host, such as https://auth.example.com, and if a port then one from 1 to 65535"
	// +kubebuilder:validation:XValidation:rule=`!self.matches('^[A-Za-z]+://[^/]+/.') || self.matches('^[A-Za-z]+://[^/]+(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?([?#].*)?$')`,message="the path of issuer must consist of segments of the characters A-Z a-z 0-9 . _ ~ - that are not empty and do not begin with a dot"
	Issuer string `json:"issuer"`

	// allowedClients are the rules by which OAuthClients are accepted: a client is accepted if and
	// only if one rule allows everything it asks for. Default: one rule that allows the server's
	// own namespace.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule=`self.size() > 0`,message="allowedClients must not be empty: leave it out to allow the server's own namespace, or list a rule"
	// +listType=map
	// +listMapKey=name
	// +optional
	AllowedClients []ClientRule `json:"allowedClients,omitempty"`

	// allowedResourceServers are the rules by which ResourceServers are accepted. Default: one rule
	// that allows the server's own namespace.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule=`self.size() > 0`,message="allowedResourceServers must not be empty: leave it out to allow the server's own namespace, or list a rule"
	// +listType=map
	// +listMapKey=name
	// +optional
	AllowedResourceServers []ResourceServerRule `json:"allowedResourceServers,omitempty"`

	// tokens sets the lifetimes of codes and tokens.
	// +optional
	Tokens *TokenSettings `json:"tokens,omitempty"`

	// sessions sets how long a login in the browser lasts.
	// +optional
	Sessions *SessionSettings `json:"sessions,omitempty"`

	// signing sets the algorithms and the rotation of the signing keys.
	// +optional
	Signing *SigningSettings `json:"signing,omitempty"`

	// tokensNotBefore voids what the server issued in that second or before, and the logins: access
	// tokens, codes, refresh tokens and sessions; users have to sign in again. A time in the future
	// does so when it comes. Nothing is deleted: a lower time makes what has not expired good
	// again. Default: nothing is void.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$') && timestamp(self) >= timestamp('1970-01-01T00:00:00Z')`,message="tokensNotBefore must be a time since 1970 in UTC, such as 2026-11-01T00:00:00Z"
	// +optional
	TokensNotBefore *metav1.Time `json:"tokensNotBefore,omitempty"`

	// workloadIssuers are those whose tokens authenticate clients instead of a secret (RFC 7523
	// section 2.2), at most one of type Kubernetes. Default: none.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule=`self.filter(i, i.type == 'Kubernetes').size() <= 1`,message="workloadIssuers must have at most one issuer of type Kubernetes: the server is in one cluster"
	// +kubebuilder:validation:XValidation:rule=`self.all(i, !has(i.jwt) || self.exists_one(j, has(j.jwt) && j.jwt.issuer == i.jwt.issuer))`,message="workloadIssuers must not have two issuers with one jwt.issuer: a token says from which one it is by that alone"
	// +listType=map
	// +listMapKey=name
	// +optional
	WorkloadIssuers []WorkloadIssuer `json:"workloadIssuers,omitempty"`

	// storage is where grants, consents and revocations are kept. Default: Kubernetes. Records are
	// not moved when it changes: users have to log in again, and refresh tokens end.
	// +optional
	Storage *StorageSettings `json:"storage,omitempty"`

	// deployment is how the token server runs.
	// +kubebuilder:default={replicas: 2}
	// +optional
	Deployment DeploymentSettings `json:"deployment,omitzero"`

	// tls names the certificate that the token server serves; renewed without a restart. Default:
	// plain HTTP.
	// +optional
	TLS *TLSSettings `json:"tls,omitempty"`

	// trustedProxies are the networks of the proxies in front of the token server, whose
	// X-Forwarded-For header is believed, such as 10.0.0.0/8. Set it if there is a proxy or an
	// Ingress: else all logins seem to come from it, and one attacker who guesses passwords slows
	// them all. Default: none.
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	// +optional
	TrustedProxies []CIDR `json:"trustedProxies,omitempty"`

	// fetch is what token servers may fetch for others (the key sets of clients and of workload
	// issuers), besides what is at public addresses. Default: nothing.
	// +optional
	Fetch *FetchSettings `json:"fetch,omitempty"`
}

// ClientRule allows OAuthClients.
type ClientRule struct {
	// name is unique among the rules; conditions quote it.
	Name RuleName `json:"name"`

	// namespaces from which clients are accepted. Default: Same.
	// +optional
	Namespaces *RuleNamespaces `json:"namespaces,omitempty"`

	// grantTypes that a client may use. Default: authorization_code, client_credentials and
	// refresh_token. implicit and password are allowed only where they are listed.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5
	// +listType=set
	// +optional
	GrantTypes []GrantType `json:"grantTypes,omitempty"`

	// clientIDs outside "<own namespace>." that a client may have: a literal, a prefix that ends
	// in "*", or "*" for any. An id that begins like those of another namespace, such as shop.web,
	// needs a pattern that begins with "shop." itself, whether or not there is such a namespace: *
	// and shop* do not stand for it. Default: none.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	// +optional
	ClientIDs []ClientIDPattern `json:"clientIDs,omitempty"`

	// scopes that a client may register: a literal, a prefix that ends in "*", or "*" for any.
	// Default: any.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	// +optional
	Scopes []ScopePattern `json:"scopes,omitempty"`

	// redirectHosts that the https redirect URIs of a client may name: a host, "*." before a host
	// for one leading label, or "*" for any. Loopback redirect URIs are not concerned. Default:
	// any.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	// +optional
	RedirectHosts []RedirectHost `json:"redirectHosts,omitempty"`

	// redirectSchemes are the private-use URI schemes (RFC 8252 section 7.1) that redirect URIs may
	// have: a scheme, or "*" for any that contains a dot. One without a dot has to be named, and is
	// for public clients with PKCE and consent only. Schemes that browsers or operating systems
	// handle themselves, and those that IANA has registered, are never among them. Default: none.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	// +optional
	RedirectSchemes []RedirectScheme `json:"redirectSchemes,omitempty"`

	// consent modes that a client may choose. Default: Required only.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	// +listType=set
	// +optional
	Consent []ConsentMode `json:"consent,omitempty"`

	// maxAccessTokenLifetime is the longest access token lifetime that a client may ask for.
	// Default: the server's own lifetime.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')`,message="maxAccessTokenLifetime must be a duration from 1s to 24h in whole h, m and s, such as 15m"
	// +optional
	MaxAccessTokenLifetime *metav1.Duration `json:"maxAccessTokenLifetime,omitempty"`

	// tokenEndpointAuthMethods by which a client may authenticate, or "*" for any. A rule without
	// client_secret_basic and client_secret_post accepts no shared secret, and one without none no
	// public client. Default: any.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=6
	// +listType=set
	// +optional
	TokenEndpointAuthMethods []AuthMethodPattern `json:"tokenEndpointAuthMethods,omitempty"`

	// legacyUntil is when the grant types implicit and password end for the clients that this rule
	// accepts: from then on requests with them are refused, and refreshes of what began with a
	// password, while the other grant types of the clients go on. Default: never.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$') && timestamp(self) > timestamp('1970-01-01T00:00:00Z')`,message="legacyUntil must be a time after 1970-01-01T00:00:00Z in UTC, such as 2026-11-01T00:00:00Z"
	// +optional
	LegacyUntil *metav1.Time `json:"legacyUntil,omitempty"`

	// workloadIssuers whose workloads a client may list in workloadIdentities, by name. Default: all
	// that the server has.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	// +optional
	WorkloadIssuers []RuleName `json:"workloadIssuers,omitempty"`

	// identityProviders whose users may sign in to the clients, by name; local stands for the
	// OAuthUsers. Default: local, and the IdentityProviders with clients: All.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=33
	// +listType=set
	// +optional
	IdentityProviders []RuleName `json:"identityProviders,omitempty"`

	// groups of which a user must have one to sign in to the clients, as in the claim groups of the
	// user. Default: any user may sign in.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	// +optional
	Groups []Group `json:"groups,omitempty"`
}

// Group is a value of the claim groups.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
type Group = string

// ResourceServerRule allows ResourceServers.
type ResourceServerRule struct {
	// name is unique among the rules; conditions quote it.
	Name RuleName `json:"name"`

	// namespaces from which resource servers are accepted. Default: Same.
	// +optional
	Namespaces *RuleNamespaces `json:"namespaces,omitempty"`

	// identifiers that a resource server may have: a literal, one with "*." in place of the first
	// label of its host, or "*" for any. https://h and https://h/ are one. Default: any.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	// +optional
	Identifiers []IdentifierPattern `json:"identifiers,omitempty"`

	// scopes that a resource server may declare: a literal, a prefix that ends in "*", or "*" for
	// any. Default: any.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	// +optional
	Scopes []ScopePattern `json:"scopes,omitempty"`
}

// TokenSettings are the lifetimes of codes and tokens.
type TokenSettings struct {
	// accessTokenLifetime is how long an access token is valid, and an ID token. Default: 5m.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')`,message="accessTokenLifetime must be a duration from 1s to 24h in whole h, m and s, such as 5m"
	// +optional
	AccessTokenLifetime *metav1.Duration `json:"accessTokenLifetime,omitempty"`

	// authorizationCodeLifetime is how long an authorization code can be redeemed; at most 10m (RFC
	// 6749 section 4.1.2). Default: 60s.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('1s') && duration(self) <= duration('10m')`,message="authorizationCodeLifetime must be a duration from 1s to 10m in whole h, m and s, such as 60s"
	// +optional
	AuthorizationCodeLifetime *metav1.Duration `json:"authorizationCodeLifetime,omitempty"`

	// refreshToken sets the lifetimes and the rotation of refresh tokens.
	// +optional
	RefreshToken *RefreshTokenSettings `json:"refreshToken,omitempty"`
}

// RefreshTokenRotation is which refresh tokens are replaced when they are used.
// +kubebuilder:validation:Enum=Always;PublicClients
type RefreshTokenRotation string

const (
	// RotateAlways replaces every refresh token when it is used.
	RotateAlways RefreshTokenRotation = "Always"
	// RotatePublicClients replaces those of public clients only (RFC 9700 section 2.2.2). A
	// confidential client keeps its refresh token, which is of no use to others, since the client
	// authenticates whenever it uses it (section 4.14.2).
	RotatePublicClients RefreshTokenRotation = "PublicClients"
)

// RefreshTokenSettings are the lifetimes and the rotation of refresh tokens.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.idleLifetime) || !self.idleLifetime.matches('^([0-9]{1,5}(h|m|s)){1,3}$') || (has(self.absoluteLifetime) && !self.absoluteLifetime.matches('^([0-9]{1,5}(h|m|s)){1,3}$')) || duration(self.idleLifetime) <= (has(self.absoluteLifetime) ? duration(self.absoluteLifetime) : duration('2160h'))`,fieldPath=".idleLifetime",message="idleLifetime must not be longer than absoluteLifetime, whose default is 2160h: shorten idleLifetime or raise absoluteLifetime"
type RefreshTokenSettings struct {
	// idleLifetime is how long a refresh token lives without being used; at most absoluteLifetime.
	// Default: 720h, or absoluteLifetime if that is shorter.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('1s') && duration(self) <= duration('8760h')`,message="idleLifetime must be a duration from 1s to 8760h in whole h, m and s, such as 720h"
	// +optional
	IdleLifetime *metav1.Duration `json:"idleLifetime,omitempty"`

	// absoluteLifetime is how long refresh tokens of one authorization live in all. Default: 2160h.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('1s') && duration(self) <= duration('8760h')`,message="absoluteLifetime must be a duration from 1s to 8760h in whole h, m and s, such as 2160h"
	// +optional
	AbsoluteLifetime *metav1.Duration `json:"absoluteLifetime,omitempty"`

	// rotation is PublicClients or Always. Default: PublicClients.
	// +optional
	Rotation RefreshTokenRotation `json:"rotation,omitempty"`

	// reuseGracePeriod is how long a replaced refresh token still gets the same successor, for
	// clients that did not receive the answer; at most 5m, 0s turns it off. Default: 60s.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('0s') && duration(self) <= duration('5m')`,message="reuseGracePeriod must be a duration from 0s to 5m in whole h, m and s, such as 60s"
	// +optional
	ReuseGracePeriod *metav1.Duration `json:"reuseGracePeriod,omitempty"`
}

// SessionSettings are the lifetimes of a login in the browser.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.idleLifetime) || !self.idleLifetime.matches('^([0-9]{1,5}(h|m|s)){1,3}$') || (has(self.absoluteLifetime) && !self.absoluteLifetime.matches('^([0-9]{1,5}(h|m|s)){1,3}$')) || duration(self.idleLifetime) <= (has(self.absoluteLifetime) ? duration(self.absoluteLifetime) : duration('24h'))`,fieldPath=".idleLifetime",message="idleLifetime must not be longer than absoluteLifetime, whose default is 24h: shorten idleLifetime or raise absoluteLifetime"
type SessionSettings struct {
	// idleLifetime is how long a session lives without being used; at most absoluteLifetime.
	// Default: 8h, or absoluteLifetime if that is shorter.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('1s') && duration(self) <= duration('8760h')`,message="idleLifetime must be a duration from 1s to 8760h in whole h, m and s, such as 8h"
	// +optional
	IdleLifetime *metav1.Duration `json:"idleLifetime,omitempty"`

	// absoluteLifetime is how long a session lives in all. Default: 24h.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('1s') && duration(self) <= duration('8760h')`,message="absoluteLifetime must be a duration from 1s to 8760h in whole h, m and s, such as 24h"
	// +optional
	AbsoluteLifetime *metav1.Duration `json:"absoluteLifetime,omitempty"`
}

// SigningSettings are the algorithms and the rotation of the signing keys.
type SigningSettings struct {
	// algorithms that the server has keys for; must contain RS256 (OpenID Connect Core section
	// 15.1). The first signs access tokens; ID tokens use the client's choice. Default: ES256,
	// RS256.
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:XValidation:rule=`self.exists(a, a == 'RS256')`,message="algorithms must contain RS256, which every OpenID Connect client understands (OpenID Connect Core section 15.1)"
	// +kubebuilder:validation:XValidation:rule=`self.all(a, self.exists_one(b, b == a))`,message="algorithms must not name an algorithm twice"
	// +listType=atomic
	// +optional
	Algorithms []SigningAlgorithm `json:"algorithms,omitempty"`

	// rotation is when keys are replaced.
	// +optional
	Rotation *KeyRotation `json:"rotation,omitempty"`

	// revokedKeys are the ids of keys that are removed from the JWKS and not trusted any more, at
	// once.
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	// +optional
	RevokedKeys []KeyID `json:"revokedKeys,omitempty"`
}

// KeyRotation is when keys are replaced.
type KeyRotation struct {
	// interval between rotations. Default: 2160h.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule=`self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('1h') && duration(self) <= duration('8760h')`,message="interval must be a duration from 1h to 8760h in whole h, m and s, such as 2160h"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// revision is raised to rotate as soon as every verifier can have the next key, which status.keys
	// and the condition KeysCurrent tell; lowering it does nothing. Default: 0.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	// +optional
	Revision int64 `json:"revision,omitempty"`
}

// StorageType is where the records of a server are kept.
// +kubebuilder:validation:Enum=Kubernetes;Memory;PostgreSQL
type StorageType string

const (
	// StorageKubernetes keeps them as objects in the namespace of the AuthorizationServer:
	// OAuthGrants and OAuthConsents.
	StorageKubernetes StorageType = "Kubernetes"
	// StorageMemory keeps them in the memory of the token server until it ends; for one replica
	// only.
	StorageMemory StorageType = "Memory"
	// StoragePostgreSQL keeps them in a PostgreSQL database, for more records or writes than etcd
	// can take.
	StoragePostgreSQL StorageType = "PostgreSQL"
)

// StorageSettings are where the records of a server are kept.
// +kubebuilder:validation:XValidation:rule="has(self.postgreSQL) == (self.type == 'PostgreSQL')",message="postgreSQL goes with type PostgreSQL, and type PostgreSQL needs it"
type StorageSettings struct {
	// type is Kubernetes, Memory or PostgreSQL.
	Type StorageType `json:"type"`

	// postgreSQL is the database, for type PostgreSQL.
	// +optional
	PostgreSQL *PostgreSQLSettings `json:"postgreSQL,omitempty"`
}

// PostgreSQLSettings are the database that the records are kept in.
type PostgreSQLSettings struct {
	// secretRef names the Secret key that holds the DSN:
	// postgres://user:password@host:5432/database?sslmode=verify-full, or the same as key=value
	// pairs. A change needs no restart.
	SecretRef SecretKeyReference `json:"secretRef"`
}

// TLSSettings name the certificate that the token server serves.
type TLSSettings struct {
	// secretName is a Secret of type kubernetes.io/tls in the server's namespace.
	SecretName ObjectName `json:"secretName"`
}

// KeyPhase is the phase of a key: Published, then Active, then Retiring. Then it is deleted.
// +kubebuilder:validation:Enum=Published;Active;Retiring
type KeyPhase string

const (
	// KeyPublished is a key that is in the JWKS, so that verifiers know it, and does not sign yet.
	KeyPublished KeyPhase = "Published"
	// KeyActive is a key that signs.
	KeyActive KeyPhase = "Active"
	// KeyRetiring is a key that does not sign any more. It stays in the JWKS until the last token
	// that it signed has expired.
	KeyRetiring KeyPhase = "Retiring"
)

// KeyStatus describes one key of a server.
type KeyStatus struct {
	// kid is the key id (RFC 7517 section 4.5).
	KID KeyID `json:"kid"`

	// algorithm is the JWS algorithm, or XC20P for the keys that seal codes, refresh tokens and
	// cookies.
	// +kubebuilder:validation:MaxLength=32
	Algorithm string `json:"algorithm"`

	// phase is Published, Active or Retiring.
	Phase KeyPhase `json:"phase"`

	// since is when the key entered its phase.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	Since metav1.Time `json:"since"`

	// activeAfter is when a Published key becomes Active, where a rotation is pending and the time
	// is known.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`
	// +kubebuilder:validation:XValidation:rule=`self >= timestamp('1970-01-01T00:00:00Z')`,message="must be a time since 1970 in UTC"
	// +optional
	ActiveAfter *metav1.Time `json:"activeAfter,omitempty"`
}

// ServerEndpoints are the URLs that clients of the server use.
type ServerEndpoints struct {
	// authorization endpoint (RFC 6749 section 3.1).
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Authorization string `json:"authorization,omitempty"`
	// token endpoint (RFC 6749 section 3.2).
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Token string `json:"token,omitempty"`
	// jwks document (RFC 7517).
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	JWKS string `json:"jwks,omitempty"`
	// discovery document (OpenID Connect Discovery section 4).
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Discovery string `json:"discovery,omitempty"`
}

// AuthorizationServerStatus is what the manager and the token servers report.
type AuthorizationServerStatus struct {
	// observedGeneration is the generation of the spec that the conditions are about.
	// +kubebuilder:validation:Minimum=0
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions: Accepted, ResolvedRefs, Deployed, Available, KeysCurrent and Ready.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule=`self.all(c, c.lastTransitionTime >= timestamp('1970-01-01T00:00:00Z'))`,message="lastTransitionTime must be a time as in RFC 3339, since 1970"
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// endpoints are the URLs that clients use.
	// +optional
	Endpoints *ServerEndpoints `json:"endpoints,omitempty"`

	// keys are the server's keys and the phase of each.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=kid
	// +optional
	Keys []KeyStatus `json:"keys,omitempty"`

	// clients is the number of OAuthClients that name this server and are accepted.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	// +optional
	Clients int32 `json:"clients"`

	// authMethods are the methods by which these clients authenticate.
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=method
	// +optional
	AuthMethods []AuthMethodUse `json:"authMethods,omitempty"`

	// legacyGrants are the grant types among those of these clients that RFC 9700 advises against.
	// +kubebuilder:validation:MaxItems=2
	// +listType=map
	// +listMapKey=grantType
	// +optional
	LegacyGrants []LegacyGrantUse `json:"legacyGrants,omitempty"`

	// replicas is the number of the token server's Pods, with deployment type Managed.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2147483647
	// +optional
	Replicas int32 `json:"replicas"`

	// selector has the labels of the token server's Pods, with deployment type Managed; a
	// HorizontalPodAutoscaler finds them by it.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Selector string `json:"selector,omitempty"`
}

// AuthorizationServer is an OAuth 2.0 authorization server and OpenID Provider with its own issuer,
// keys and rules.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels="oauth-operator.dev/uninstall=keep"
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.deployment.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:resource:shortName=authserver,categories=oauth
// +kubebuilder:printcolumn:name="Issuer",type=string,JSONPath=`.spec.issuer`
// +kubebuilder:printcolumn:name="Clients",type=integer,JSONPath=`.status.clients`
// +kubebuilder:printcolumn:name="Replicas",type=integer,JSONPath=`.status.replicas`
// +kubebuilder:printcolumn:name="Available",type=string,JSONPath=`.status.conditions[?(@.type=="Available")].status`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:validation:XValidation:rule=`self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')`,message="metadata.name of an AuthorizationServer must be a DNS label (a-z, 0-9 and -, no dot) of at most 40 characters that begins with a letter, because the names of its objects are made from it"
type AuthorizationServer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the platform team decides.
	Spec AuthorizationServerSpec `json:"spec"`
	// status is what the manager and the token servers report.
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "The manager has not processed the object yet. If this does not change, check that the manager is running.", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Ready", status: "Unknown", reason: "Pending", message: "The manager has not processed the object yet. If this does not change, check that the manager is running.", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	// +optional
	Status AuthorizationServerStatus `json:"status,omitempty"`
}

// AuthorizationServerList is a list of AuthorizationServers.
//
// +kubebuilder:object:root=true
type AuthorizationServerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AuthorizationServer `json:"items"`
}
