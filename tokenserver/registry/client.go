package registry

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
	"github.com/oauth-operator/oauth-operator/tokenserver/redirecturi"
)

// clientRecord is a client's document, and how the rules evaluated it last.
type clientRecord struct {
	entry     string
	document  *documents.Client
	evaluated atomic.Pointer[Client]
}

// Client is a client that may be served now. It is immutable, and valid for one request: the next
// request asks the registry again.
type Client struct {
	*documents.Client
	// AccessTokenLifetime is the lifetime that the client asks for, otherwise the server's, within
	// what the rule allows.
	AccessTokenLifetime time.Duration
	// Rule is the name of the server's rule that accepts the client.
	Rule string

	registry    *Registry
	revision    Revision
	accepted    bool
	users       policy.UserLists         // of the rule
	endedGrants []string                 // that it registered, and that the rule has ended (policy.Decision)
	previous    *Client                  // the client with its PreviousAuth; nil if it has none
	keys        func() (jwks.Set, error) // of the document, parsed once; nil if it has none
	issuer      string
	scopes      []clientScope // that it may have now, in the order registered
}

// clientScope is a scope, and the resource server that owns it; nil of a built-in one.
type clientScope struct {
	name  string
	owner *documents.ResourceServer
}

// Client returns the client with an id. It returns false if the client is unknown, suspended or not
// accepted by the rules of the server, which callers need not tell apart.
func (r *Registry) Client(id string) (*Client, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	d := r.names[SpaceIdentity][id]
	if d == nil {
		return nil, false
	}
	record, _ := d.document.(*clientRecord)
	return r.evaluate(record)
}

// ClientByUID is like Client, for the UID that is in what was issued to a client.
func (r *Registry) ClientByUID(uid string) (*Client, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.evaluate(r.clientsByUID[uid])
}

// evaluate returns the client of a record as the rules evaluate it now; false if they do not accept
// it. The caller holds the lock.
func (r *Registry) evaluate(record *clientRecord) (*Client, bool) {
	if record == nil {
		return nil, false
	}
	now := r.now()
	c := record.evaluated.Load()
	if c == nil || c.revision != r.revision(now) {
		c = r.evaluateClient(record.document, now)
		record.evaluated.Store(c)
	}
	if !c.accepted {
		return nil, false
	}
	return c, true
}

func (r *Registry) evaluateClient(doc *documents.Client, now time.Time) *Client {
	c := &Client{Client: doc, registry: r, revision: r.revision(now)}
	if keys := doc.JWKS; len(keys) > 0 {
		c.keys = sync.OnceValues(func() (jwks.Set, error) { return jwks.NewSet(keys) })
	}
	if r.server == nil || doc.Suspended {
		return c
	}
	labels := r.namespaceLabels(doc.Namespace)
	d := policy.EvaluateClient(r.server.document, labels, *doc, now)
	c.accepted, c.Rule, c.AccessTokenLifetime = d.Accepted, d.Rule, d.AccessTokenLifetime.Duration()
	c.users, c.endedGrants, c.issuer = d.Users, d.EndedGrants, r.server.document.Issuer
	if doc.PreviousAuth != nil {
		before := doc.AsBefore()
		c.previous = r.evaluateClient(&before, now)
	}
	for _, scope := range doc.Scopes {
		if oauth.IsBuiltInScope(scope) {
			c.scopes = append(c.scopes, clientScope{name: scope})
		} else if rs := r.findScopeOwner(scope); rs != nil && policy.AllowsScope(*rs, doc.Namespace, labels, scope) {
			c.scopes = append(c.scopes, clientScope{scope, rs})
		}
	}
	return c
}

// Keys returns the public keys that the document of the client has.
func (c *Client) Keys() (jwks.Set, error) {
	if c.keys == nil {
		return jwks.Set{}, nil
	}
	return c.keys()
}

// AllowsProvider reports whether the users of a provider may sign in to the client, as
// policy.UserLists.AllowsProvider does.
func (c *Client) AllowsProvider(name string, allClients bool) bool {
	return c.users.AllowsProvider(name, allClients)
}

// AllowsProviderOf reports whether users from where a user is may sign in to the client.
func (c *Client) AllowsProviderOf(u *User) bool {
	return c.AllowsProvider(u.ProviderName, u.AllClients)
}

// AllowsGroupsOf reports whether the client is for a user with the user's groups.
func (c *Client) AllowsGroupsOf(u *User) bool { return c.users.AllowsGroups(u.Groups()) }

// IsPublic reports whether the client has no credentials (RFC 6749 section 2.1).
func (c *Client) IsPublic() bool { return c.AuthMethod == oauth.AuthMethodNone }

// HasGrantType reports whether the client may use a grant type: it registered it, and the rule that
// accepts it has not ended it.
func (c *Client) HasGrantType(grantType string) bool {
	return slices.Contains(c.GrantTypes, grantType) && !slices.Contains(c.endedGrants, grantType)
}

// HasEnded reports whether the client registered a grant type that the rule which accepts it has
// ended.
func (c *Client) HasEnded(grantType string) bool { return slices.Contains(c.endedGrants, grantType) }

// RequiresPKCE reports whether the client's authorization requests need a code_challenge: those of
// all public clients do (RFC 9700 section 2.1.1), and of all others but those registered to go
// without.
func (c *Client) RequiresPKCE() bool { return c.IsPublic() || c.PKCE != documents.PKCEWhenSent }

// RequiresConsent reports whether an authorization of the scopes needs a stored consent. A client
// that is registered to skip consent still needs one for offline_access, which outlives the session
// (OpenID Connect Core section 11).
func (c *Client) RequiresConsent(scopes []string) bool {
	return c.Consent != documents.ConsentSkip || slices.Contains(scopes, oauth.ScopeOfflineAccess)
}

// RequiresInteraction reports whether a user has to see the consent page in each flow that ends at
// a redirect URI, whatever the user has allowed before. A public client at a loopback or
// private-use URI could be any program on the user's device (RFC 8252 section 8.6).
func (c *Client) RequiresInteraction(redirectURI string) bool {
	return c.IsPublic() && redirecturi.IsNative(redirectURI)
}
