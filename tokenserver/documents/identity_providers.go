package documents

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Values of IdentityProvider.Type.
const (
	ProviderOIDC = "OIDC"
	ProviderLDAP = "LDAP"
)

// LocalProvider is the name that stands for the OAuthUsers of a server where identity providers are
// named. No IdentityProvider has it.
const LocalProvider = "local"

// IdentityProvider is the document of an IdentityProvider.
type IdentityProvider struct {
	UID         string `json:"uid"`
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
	DisplayName string `json:"displayName"`
	// NotAccepted is true of a provider that has a mistake. Only UID, Namespace, Name, DisplayName,
	// Suspended and TokensNotBefore are set then: no user signs in, and what was issued to its users
	// cannot be checked, but has not ended unless these two say so.
	NotAccepted bool `json:"notAccepted,omitempty"`
	// AllClients is true if the users may sign in to each client whose rule names no providers, and
	// false if only to those whose rule names this one.
	AllClients bool `json:"allClients,omitempty"`
	// Type is OIDC or LDAP.
	Type string `json:"type,omitempty"`
	// Realm and SubjectAttribute are what the subjects of the users are derived from, together with
	// the value of the attribute: a claim of ID tokens, or an attribute of directory entries.
	Realm            string        `json:"realm,omitempty"`
	SubjectAttribute string        `json:"subjectAttribute,omitempty"`
	OIDC             *OIDCProvider `json:"oidc,omitempty"`
	LDAP             *LDAPProvider `json:"ldap,omitempty"`
	// Credentials are the names of the files that have the client secret or the bind password: first
	// the present one, then the one before it, which a server uses that has not read the present one
	// yet. Package upstreamfiles reads the files.
	Credentials []string `json:"credentials,omitempty"`
	// CABundle are certificates in PEM that replace the public roots; empty: the public roots.
	CABundle string `json:"caBundle,omitempty"`
	// CABundleSource is the version of the ConfigMap that the manager took CABundle from:
	// "<name> <uid>/<resourceVersion>/<key>".
	CABundleSource string `json:"caBundleSource,omitempty"`
	// Allow and the values of Claims are CEL expressions (package claimmapping). Claims are by the
	// name of the claim that they make.
	Allow  string            `json:"allow,omitempty"`
	Claims map[string]string `json:"claims,omitempty"`
	// MaxIdentities bounds how many users the provider has.
	MaxIdentities int `json:"maxIdentities,omitempty"`
	// Suspended refuses sign-ins, and all that was issued to users of the provider.
	Suspended bool `json:"suspended,omitempty"`
	// TokensNotBefore is as of the Server, for what was issued about the users of the provider.
	TokensNotBefore int64 `json:"tokensNotBefore,omitempty"`
}

// IsInService reports whether users can sign in, as far as the document says.
func (p IdentityProvider) IsInService() bool { return !p.NotAccepted && !p.Suspended }

// OIDCProvider is an OpenID provider where users sign in.
type OIDCProvider struct {
	Issuer   string `json:"issuer"`
	ClientID string `json:"clientID"`
	// Scopes are asked for beside openid.
	Scopes []string `json:"scopes,omitempty"`
	// Parameters are sent along with each authentication request.
	Parameters map[string]string `json:"parameters,omitempty"`
	// UserInfo is true if the claims of the UserInfo endpoint are read as well.
	UserInfo bool `json:"userInfo,omitempty"`
	// MaxAge is how long after a sign-in the refresh tokens of its grants still work.
	MaxAge Seconds `json:"maxAge"`
}

// LDAPProvider is a directory whose users sign in with their password there.
type LDAPProvider struct {
	// URL is ldap://host:port or ldaps://host:port.
	URL      string `json:"url"`
	StartTLS bool   `json:"startTLS,omitempty"`
	// BindDN is the DN of the account that searches. Its password is the credential of the provider.
	BindDN string     `json:"bindDN"`
	Users  LDAPUsers  `json:"users"`
	Groups LDAPGroups `json:"groups,omitzero"`
	// ThrottleFailures wrong passwords for an entry within ThrottleWindow are the most that are tried.
	ThrottleFailures int     `json:"throttleFailures"`
	ThrottleWindow   Seconds `json:"throttleWindow"`
}

// LDAPUsers says how the entry of a user is found, and what is read of it.
type LDAPUsers struct {
	BaseDN string `json:"baseDN"`
	// Filter has $(username). AccountFilter is a second one that the entry must match, if it is set.
	// Package ldapfilter has their grammar.
	Filter        string   `json:"filter"`
	AccountFilter string   `json:"accountFilter,omitempty"`
	Attributes    []string `json:"attributes,omitempty"`
	// PasswordChangedAttribute is an attribute whose change means that the password was changed.
	PasswordChangedAttribute string `json:"passwordChangedAttribute,omitempty"`
}

// LDAPGroups says how the groups of a user are found. Without a BaseDN there are none.
type LDAPGroups struct {
	BaseDN string `json:"baseDN,omitempty"`
	// OneLevel searches only the children of the base, instead of the whole subtree.
	OneLevel bool `json:"oneLevel,omitempty"`
	// Filter has $(dn) or $(attr.x), for an attribute x of the user's entry.
	Filter string `json:"filter,omitempty"`
	// NameAttribute is the attribute of a group's entry that is its name, or "dn".
	NameAttribute string `json:"nameAttribute,omitempty"`
}

// Identity is the document of an OAuthIdentity: what the owner of the server says about a user from
// elsewhere.
type Identity struct {
	// UID is that of the object.
	UID       string `json:"uid"`
	Subject   string `json:"subject"`
	Suspended bool   `json:"suspended,omitempty"`
	// TokensNotBefore is as of the Server, for what was issued about this user.
	TokensNotBefore int64 `json:"tokensNotBefore,omitempty"`
}

// Digest returns the SHA-256 of the document, in hex: what was found out about a provider by a
// document with another one may not be so any more.
func (p IdentityProvider) Digest() (string, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("encoding the document of the provider %s: %w", p.Name, err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}
