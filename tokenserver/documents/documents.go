// Package documents has the documents that the manager writes and the token server reads: one for
// each server, client, user, resource server and namespace. They contain facts and hashes, no
// secrets. Manager and token server derive decisions from them with the same package, policy.
//
//	documents.go  the kinds of documents
//	encoding.go   JSON
//	formats.go    the format of a document, and which formats this version reads
//
// A document is JSON. Its format names its kind and version. Managers and token servers of
// neighbouring versions run side by side, in either order, and neither may allow more than was asked:
//
//   - A reader refuses a document of a format that it does not know, and one with a field that it
//     does not know, since the field may be a constraint.
//   - A field that is added after a release belongs to a format of its own (struct tag "format").
//   - The manager writes the oldest format that can say what an object asks, and a newer one only
//     once every live replica reads it.
package documents

import "time"

// Any in a list of patterns allows everything.
const Any = "*"

// Server is what is served for an AuthorizationServer.
type Server struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Issuer identifier (RFC 8414 section 2), byte for byte as configured.
	Issuer                 string               `json:"issuer"`
	AllowedClients         []ClientRule         `json:"allowedClients"`
	AllowedResourceServers []ResourceServerRule `json:"allowedResourceServers"`
	// Lifetimes, in seconds in JSON.
	AccessTokenLifetime       Seconds      `json:"accessTokenLifetime"`
	AuthorizationCodeLifetime Seconds      `json:"authorizationCodeLifetime"`
	RefreshToken              RefreshToken `json:"refreshToken"`
	SessionIdleLifetime       Seconds      `json:"sessionIdleLifetime"`
	SessionAbsoluteLifetime   Seconds      `json:"sessionAbsoluteLifetime"`
	// Storage is where the server's records are kept, one of the constants below; empty says nothing about it.
	Storage string `json:"storage,omitempty"`
	// TrustedProxies, in CIDR notation, whose X-Forwarded-For is believed.
	TrustedProxies []string `json:"trustedProxies,omitempty"`
	// Algorithms that the server signs with; the first signs access tokens.
	Algorithms []string `json:"algorithms"`
	// Keys and their phases. A key that is not listed is not used; one whose file is missing is not held.
	Keys []Key `json:"keys"`
	// RevokedKeys are kids that are out of the JWKS and untrusted at once.
	RevokedKeys []string `json:"revokedKeys,omitempty"`
}

// Values of Server.Storage.
const (
	StorageKubernetes = "Kubernetes"
	StorageMemory     = "Memory"
	StoragePostgreSQL = "PostgreSQL"
)

// RefreshToken are the lifetimes and the rotation of refresh tokens.
type RefreshToken struct {
	IdleLifetime     Seconds `json:"idleLifetime"`
	AbsoluteLifetime Seconds `json:"absoluteLifetime"`
	ReuseGracePeriod Seconds `json:"reuseGracePeriod"`
	// RotatePublicClientsOnly lets confidential clients keep their refresh token.
	RotatePublicClientsOnly bool `json:"rotatePublicClientsOnly,omitempty"`
}

// Seconds is a duration that JSON holds as a whole number of seconds.
type Seconds int64

// Duration of s.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// Key phases.
const (
	KeyPublished = "Published"
	KeyActive    = "Active"
	KeyRetiring  = "Retiring"
)

// AlgorithmSealing is the "algorithm" of keys that seal: XChaCha20-Poly1305.
const AlgorithmSealing = "XC20P"

// Key is one key of a server: what is said about it, not the key.
type Key struct {
	KID string `json:"kid"`
	// Algorithm is ES256, RS256 or XC20P.
	Algorithm string `json:"algorithm"`
	Phase     string `json:"phase"`
}

// Namespaces that a rule admits: exactly one of the fields is set.
type Namespaces struct {
	All bool `json:"all,omitempty"`
	// Names of namespaces; the compiled form of "Same".
	Names    []string  `json:"names,omitempty"`
	Selector *Selector `json:"selector,omitempty"`
}

// Selector of labels; all must hold. An empty one matches everything.
type Selector struct {
	MatchLabels      map[string]string `json:"matchLabels,omitempty"`
	MatchExpressions []Requirement     `json:"matchExpressions,omitempty"`
}

// Requirement of one label. Operator is In, NotIn, Exists or DoesNotExist, with the meaning that Kubernetes gives them.
type Requirement struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Values   []string `json:"values,omitempty"`
}

// ClientRule allows clients. Defaults are written out by the compiler: an empty list allows nothing, except where noted.
type ClientRule struct {
	Name       string     `json:"name"`
	Namespaces Namespaces `json:"namespaces"`
	GrantTypes []string   `json:"grantTypes"`
	// ClientIDs outside "<own namespace>.".
	ClientIDs       []string `json:"clientIDs,omitempty"`
	Scopes          []string `json:"scopes"`
	RedirectHosts   []string `json:"redirectHosts"`
	RedirectSchemes []string `json:"redirectSchemes,omitempty"`
	Consent         []string `json:"consent"`
	// MaxAccessTokenLifetime; zero means the server's own lifetime.
	MaxAccessTokenLifetime Seconds `json:"maxAccessTokenLifetime,omitempty"`
}

// ResourceServerRule allows resource servers.
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

// Client is what is served for an OAuthClient.
type Client struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// ID is the client identifier.
	ID          string   `json:"id"`
	DisplayName string   `json:"displayName,omitempty"`
	GrantTypes  []string `json:"grantTypes"`
	// AuthMethod is client_secret_basic, client_secret_post or none.
	AuthMethod   string   `json:"authMethod"`
	RedirectURIs []string `json:"redirectURIs,omitempty"`
	// PostLogoutRedirectURIs are where the browser may go after logout, by exact string.
	PostLogoutRedirectURIs []string     `json:"postLogoutRedirectURIs,omitempty"`
	Scopes                 []string     `json:"scopes,omitempty"`
	PKCE                   string       `json:"pkce"`
	Consent                string       `json:"consent"`
	Credentials            []Credential `json:"credentials,omitempty"`
	// IDTokenAlg is RS256 or ES256.
	IDTokenAlg    string   `json:"idTokenAlg"`
	IDTokenClaims []string `json:"idTokenClaims,omitempty"`
	// AccessTokenLifetime that the client asks for; zero means the server's.
	AccessTokenLifetime Seconds `json:"accessTokenLifetime,omitempty"`
	Suspended           bool    `json:"suspended,omitempty"`
}

// Credential states. All of them authenticate, a Retiring one until RetireAfter and not without one.
const (
	CredentialPending  = "Pending"
	CredentialActive   = "Active"
	CredentialRetiring = "Retiring"
)

// Credential is the hash of one client secret. The secrets are random, so a fast hash is enough (a slow one would cost every request).
type Credential struct {
	// ID says nothing about the value.
	ID string `json:"id"`
	// SHA256 of the secret, in hexadecimal.
	SHA256 string `json:"sha256"`
	State  string `json:"state"`
	// NotBefore and RetireAfter are Unix times in seconds; zero means none.
	NotBefore   int64 `json:"notBefore,omitempty"`
	RetireAfter int64 `json:"retireAfter,omitempty"`
	// Source is the version of the Secret that the hash was last compared with: "<uid>/<resourceVersion>".
	Source string `json:"source,omitempty"`
}

// User is what is served for an OAuthUser.
type User struct {
	UID      string `json:"uid"`
	Subject  string `json:"subject"`
	Username string `json:"username"` // normalised
	// PasswordHash is an argon2id or bcrypt hash in PHC format.
	PasswordHash string `json:"passwordHash"`
	// Epoch is random and new when the stored password no longer verifies: sessions and grants of another epoch have ended.
	Epoch string `json:"epoch"`
	// PasswordSource is the version of the Secret that the hash was last compared with: "<uid>/<resourceVersion>".
	PasswordSource string         `json:"passwordSource,omitempty"`
	Claims         map[string]any `json:"claims,omitempty"`
}

// ResourceServer is what is served for a ResourceServer.
type ResourceServer struct {
	UID                  string               `json:"uid"`
	Namespace            string               `json:"namespace"`
	Name                 string               `json:"name"`
	Identifier           string               `json:"identifier"`
	Scopes               []Scope              `json:"scopes,omitempty"` // only those whose claim it holds
	AllowedClients       []ResourceClientRule `json:"allowedClients"`
	IntrospectionClients []ClientName         `json:"introspectionClients,omitempty"`
}

// Scope of a resource server.
type Scope struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// ResourceClientRule allows clients to get tokens for a resource server.
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

// Namespace is what is served for a namespace.
type Namespace struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
}
