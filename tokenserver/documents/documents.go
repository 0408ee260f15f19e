// Package documents has the documents that the manager writes and the token server reads: one for
// each server, client, user, resource server, namespace, identity provider and identity. They
// contain facts and hashes, no secrets. Manager and token server derive decisions from them with the
// same package, policy.
//
//	documents.go           the kinds of documents
//	identity_providers.go  those about users from elsewhere
//	keys.go                the keys of others in them, and what may be fetched
//	workloads.go           the parts of them about workload identities
//	encoding.go            JSON
//	formats.go             the format of a document, and which formats this version reads
//	needed.go              the oldest format that a document can have
//
// A document is JSON. Its format names its kind and version. Managers and token servers of
// neighbouring versions run side by side, in either order, and neither may allow more than was
// asked:
//
//   - A reader refuses a document of a format that it does not know, and one with a field that it
//     does not know, since the field may be a constraint.
//   - A field that is added after a release belongs to a format of its own (struct tag "format").
//   - The manager writes the oldest format that can say what an object asks, and a newer one only
//     once every live replica reads it.
package documents

import "time"

// Any is the pattern that matches everything.
const Any = "*"

// Server is the document of an AuthorizationServer.
type Server struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Issuer is the issuer identifier (RFC 8414 section 2), byte for byte as configured.
	Issuer                    string               `json:"issuer"`
	AllowedClients            []ClientRule         `json:"allowedClients"`
	AllowedResourceServers    []ResourceServerRule `json:"allowedResourceServers"`
	AccessTokenLifetime       Seconds              `json:"accessTokenLifetime"`
	AuthorizationCodeLifetime Seconds              `json:"authorizationCodeLifetime"`
	RefreshToken              RefreshToken         `json:"refreshToken"`
	SessionIdleLifetime       Seconds              `json:"sessionIdleLifetime"`
	SessionAbsoluteLifetime   Seconds              `json:"sessionAbsoluteLifetime"`
	// Storage is one of the Storage constants; empty: any.
	Storage string `json:"storage,omitempty"`
	// TrustedProxies are the addresses of proxies whose X-Forwarded-For is used, in CIDR notation.
	TrustedProxies []string `json:"trustedProxies,omitempty"`
	// WorkloadIssuers are those whose tokens authenticate clients with AuthMethod WorkloadIdentity.
	WorkloadIssuers []WorkloadIssuer `json:"workloadIssuers,omitempty" format:"server/v2"`
	// Algorithms are the algorithms that the server signs with. The first signs access tokens.
	Algorithms []string `json:"algorithms"`
	// Keys lists the keys that the server uses. It ignores the files of other keys.
	Keys []Key `json:"keys"`
	// RevokedKeys are the ids of keys that are not in the JWK Set, and whose signatures are
	// invalid.
	RevokedKeys []string `json:"revokedKeys,omitempty"`
	// TokensNotBefore is a Unix time in seconds: what was issued until then is void, and so are the
	// logins (package notbefore); zero: nothing is.
	TokensNotBefore int64 `json:"tokensNotBefore,omitempty" format:"server/v2"`
	// Fetch says what the server may fetch beside what is at public addresses.
	Fetch *Fetch `json:"fetch,omitempty" format:"server/v2"`
}

// Values of Server.Storage.
const (
	StorageKubernetes = "Kubernetes"
	StorageMemory     = "Memory"
	StoragePostgreSQL = "PostgreSQL"
)

// RefreshToken has the lifetimes and the rotation of refresh tokens.
type RefreshToken struct {
	IdleLifetime     Seconds `json:"idleLifetime"`
	AbsoluteLifetime Seconds `json:"absoluteLifetime"`
	ReuseGracePeriod Seconds `json:"reuseGracePeriod"`
	// RotatePublicClientsOnly turns rotation off for confidential clients.
	RotatePublicClientsOnly bool `json:"rotatePublicClientsOnly,omitempty"`
}

// Seconds is a duration in whole seconds, a number in JSON.
type Seconds int64

// Duration returns s as a time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// Key phases.
const (
	KeyPublished = "Published"
	KeyActive    = "Active"
	KeyRetiring  = "Retiring"
)

// AlgorithmSealing is the Algorithm of keys that seal: XChaCha20-Poly1305.
const AlgorithmSealing = "XC20P"

// Key describes a key of a server. The key itself is in a file.
type Key struct {
	KID string `json:"kid"`
	// Algorithm is ES256, RS256 or XC20P.
	Algorithm string `json:"algorithm"`
	Phase     string `json:"phase"`
}

// Namespaces selects the namespaces that a rule includes. Exactly one field is set.
type Namespaces struct {
	All bool `json:"all,omitempty"`
	// Names are names of namespaces. "Same" in an object is one name here.
	Names    []string  `json:"names,omitempty"`
	Selector *Selector `json:"selector,omitempty"`
}

// Selector is a label selector: all of its requirements must match. An empty one matches
// everything.
type Selector struct {
	MatchLabels      map[string]string `json:"matchLabels,omitempty"`
	MatchExpressions []Requirement     `json:"matchExpressions,omitempty"`
}

// Requirement is a requirement of a label selector. Operator is In, NotIn, Exists or DoesNotExist,
// as in Kubernetes.
type Requirement struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Values   []string `json:"values,omitempty"`
}

// ClientRule is a rule of a server that accepts clients. The manager fills in defaults, so an empty
// list allows nothing, except where a comment says so.
type ClientRule struct {
	Name       string     `json:"name"`
	Namespaces Namespaces `json:"namespaces"`
	GrantTypes []string   `json:"grantTypes"`
	// ClientIDs are patterns of client ids that do not begin with the client's namespace and a dot.
	ClientIDs       []string `json:"clientIDs,omitempty"`
	Scopes          []string `json:"scopes"`
	RedirectHosts   []string `json:"redirectHosts"`
	RedirectSchemes []string `json:"redirectSchemes,omitempty"`
	Consent         []string `json:"consent"`
	// MaxAccessTokenLifetime is the longest lifetime that a client may ask for; zero: that of the
	// server.
	MaxAccessTokenLifetime Seconds `json:"maxAccessTokenLifetime,omitempty"`
	// WorkloadIssuers are names of the server's workload issuers; empty: all of them.
	WorkloadIssuers []string `json:"workloadIssuers,omitempty" format:"server/v2"`
	// TokenEndpointAuthMethods are the values of Client.AuthMethod that the rule allows; empty: any.
	TokenEndpointAuthMethods []string `json:"tokenEndpointAuthMethods,omitempty" format:"server/v2"`
	// LegacyUntil is a Unix time in seconds, from which the rule counts as not listing the grant
	// types implicit and password; zero: never.
	LegacyUntil int64 `json:"legacyUntil,omitempty" format:"server/v2"`
	// IdentityProviders are names of IdentityProviders, or LocalProvider, whose users may sign in to
	// the clients; empty: LocalProvider, and all providers with AllClients.
	IdentityProviders []string `json:"identityProviders,omitempty" format:"server/v3"`
	// Groups are those of which a user must have one, in the claim "groups"; empty: any user may sign
	// in.
	Groups []string `json:"groups,omitempty" format:"server/v3"`
}

// ResourceServerRule is a rule of a server that accepts resource servers.
type ResourceServerRule struct {
	Name        string     `json:"name"`
	Namespaces  Namespaces `json:"namespaces"`
	Identifiers []string   `json:"identifiers"`
	Scopes      []string   `json:"scopes"`
}

// Values of Client.PKCE and Client.Consent.
const (
	PKCERequired    = "Required"
	PKCEWhenSent    = "WhenSent"
	ConsentRequired = "Required"
	ConsentSkip     = "Skip"
)

// Client is the document of an OAuthClient.
type Client struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// ID is the client identifier.
	ID          string   `json:"id"`
	DisplayName string   `json:"displayName,omitempty"`
	GrantTypes  []string `json:"grantTypes"`
	// AuthMethod is client_secret_basic, client_secret_post, private_key_jwt, WorkloadIdentity or
	// none.
	AuthMethod   string   `json:"authMethod" format:"client/v2=private_key_jwt|WorkloadIdentity"`
	RedirectURIs []string `json:"redirectURIs,omitempty"`
	// PostLogoutRedirectURIs are the URIs that a logout may redirect to, compared as strings.
	PostLogoutRedirectURIs []string     `json:"postLogoutRedirectURIs,omitempty"`
	Scopes                 []string     `json:"scopes,omitempty"`
	PKCE                   string       `json:"pkce"`
	Consent                string       `json:"consent"`
	Credentials            []Credential `json:"credentials,omitempty"`
	// RevokedCredentials are credentials that the client had. What has the value of one is no
	// credential, whatever Credentials says.
	RevokedCredentials []RevokedCredential `json:"revokedCredentials,omitempty" format:"client/v2"`
	// IDTokenAlg is RS256 or ES256.
	IDTokenAlg    string   `json:"idTokenAlg"`
	IDTokenClaims []string `json:"idTokenClaims,omitempty"`
	// AccessTokenLifetime is the lifetime that the client asks for; zero: that of the server.
	AccessTokenLifetime Seconds `json:"accessTokenLifetime,omitempty"`
	Suspended           bool    `json:"suspended,omitempty"`
	// JWKS are the public keys of a client that signs assertions, and JWKSURI is where they are if
	// they are not in the document.
	JWKS    []JWK  `json:"jwks,omitempty" format:"client/v2"`
	JWKSURI string `json:"jwksURI,omitempty" format:"client/v2"`
	// JWKSSource is the version of the Secret that the manager took JWKS from:
	// "<uid>/<resourceVersion>".
	JWKSSource string `json:"jwksSource,omitempty" format:"client/v2"`
	// WorkloadIdentities are the workloads that are this client, with AuthMethod WorkloadIdentity.
	WorkloadIdentities []WorkloadIdentity `json:"workloadIdentities,omitempty" format:"client/v2"`
	// TokensNotBefore is as of the Server, for what was issued to this client.
	TokensNotBefore int64 `json:"tokensNotBefore,omitempty" format:"client/v2"`
	// PreviousAuth is how the client authenticated before AuthMethod was changed, and still may.
	PreviousAuth *PreviousAuth `json:"previousAuth,omitempty" format:"client/v2"`
}

// PreviousAuth is an authentication method that a client had. Its secrets are among the Credentials
// of the client.
type PreviousAuth struct {
	// Method is as Client.AuthMethod, but never none.
	Method string `json:"method"`
	// JWKS, JWKSURI and WorkloadIdentities are as those of the Client.
	JWKS               []JWK              `json:"jwks,omitempty"`
	JWKSURI            string             `json:"jwksURI,omitempty"`
	WorkloadIdentities []WorkloadIdentity `json:"workloadIdentities,omitempty"`
	// Until is when the method ends, in Unix seconds.
	Until int64 `json:"until"`
}

// AsBefore returns the client as it would be with the method and the keys or identities of its
// PreviousAuth, which must not be nil.
func (c Client) AsBefore() Client {
	p := c.PreviousAuth
	c.AuthMethod, c.JWKS, c.JWKSURI, c.WorkloadIdentities, c.PreviousAuth = p.Method, p.JWKS, p.JWKSURI, p.WorkloadIdentities, nil
	return c
}

// Credential states. Credentials of each state authenticate, Retiring ones until RetireAfter;
// without it they do not.
const (
	CredentialPending  = "Pending"
	CredentialActive   = "Active"
	CredentialRetiring = "Retiring"
)

// Credential is the hash of a client secret. The secrets are random, so a fast hash is enough; a
// slow one would slow down each request.
type Credential struct {
	// ID is random: it reveals nothing about the secret.
	ID string `json:"id"`
	// SHA256 of the secret, in hexadecimal.
	SHA256 string `json:"sha256"`
	State  string `json:"state"`
	// NotBefore and RetireAfter are Unix times in seconds; zero: none.
	NotBefore   int64 `json:"notBefore,omitempty"`
	RetireAfter int64 `json:"retireAfter,omitempty"`
	// Source is what the manager remembers of the credential, such as the version of the Secret that
	// it last compared with the hash. Token servers do not read it.
	Source string `json:"source,omitempty"`
}

// RevokedCredential is a credential that was revoked, and its hash.
type RevokedCredential struct {
	ID     string `json:"id"`
	SHA256 string `json:"sha256"`
}

// User is the document of an OAuthUser.
type User struct {
	UID      string `json:"uid"`
	Subject  string `json:"subject"`
	Username string `json:"username"` // normalised
	// PasswordHash is an argon2id or bcrypt hash in PHC format.
	PasswordHash string `json:"passwordHash"`
	// Epoch is random, and changes when the password changes. Sessions and grants of another epoch
	// have ended.
	Epoch string `json:"epoch"`
	// PasswordSource is the version of the Secret that the manager last compared with the hash:
	// "<uid>/<resourceVersion>".
	PasswordSource string         `json:"passwordSource,omitempty"`
	Claims         map[string]any `json:"claims,omitempty"`
	// TokensNotBefore is as of the Server, for what was issued about this user.
	TokensNotBefore int64 `json:"tokensNotBefore,omitempty" format:"user/v2"`
	Suspended       bool  `json:"suspended,omitempty" format:"user/v2"`
}

// ResourceServer is the document of a ResourceServer.
type ResourceServer struct {
	UID                  string               `json:"uid"`
	Namespace            string               `json:"namespace"`
	Name                 string               `json:"name"`
	Identifier           string               `json:"identifier"`
	Scopes               []Scope              `json:"scopes,omitempty"` // whose names it owns
	AllowedClients       []ResourceClientRule `json:"allowedClients"`
	IntrospectionClients []ClientName         `json:"introspectionClients,omitempty"`
}

// Scope of a resource server.
type Scope struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// ResourceClientRule is a rule of a resource server that allows clients to get tokens for it.
type ResourceClientRule struct {
	Name       string     `json:"name"`
	Namespaces Namespaces `json:"namespaces"`
	Scopes     []string   `json:"scopes"`
}

// ClientName names an OAuthClient.
type ClientName struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// Namespace is the document of a namespace.
type Namespace struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
}
