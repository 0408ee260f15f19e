package registry

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// clientRecord is a client's document, and what was last decided about it.
type clientRecord struct {
	entry     string
	document  documents.Client
	evaluated atomic.Pointer[Client]
}

// Client is a client that may be served now. It is immutable; ask the registry again for each request.
type Client struct {
	documents.Client
	// AccessTokenLifetime is in force: what the client asked for or the server's, within what its rule allows.
	AccessTokenLifetime time.Duration
	// Rule of the server that accepts the client.
	Rule string

	registry      *Registry
	rulesRevision uint64
	served        bool
	issuer        string
	scopes        []string                    // effective, in the order registered
	owners        map[string]ResourceServerID // resource server by scope; none for a built-in one
}

// Client is the client with this id. False if it is unknown, suspended or not allowed by the rules of the server: the three are the same to
// whoever asks.
func (r *Registry) Client(id string) (*Client, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.evaluate(r.clients[id])
}

// ClientByUID is as Client, for what was issued to a client and names its UID.
func (r *Registry) ClientByUID(uid string) (*Client, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.evaluate(r.clientsByUID[uid])
}

// serve decides about a client, unless the decision of this epoch is known. The caller has the lock.
func (r *Registry) evaluate(rec *clientRecord) (*Client, bool) {
	if rec == nil {
		return nil, false
	}
	c := rec.evaluated.Load()
	if c == nil || c.rulesRevision != r.rulesRevision {
		c = r.evaluateClient(rec.document)
		rec.evaluated.Store(c)
	}
	if !c.served {
		return nil, false
	}
	return c, true
}

func (r *Registry) evaluateClient(doc documents.Client) *Client {
	c := &Client{Client: doc, registry: r, rulesRevision: r.rulesRevision}
	if r.server == nil || doc.Suspended {
		return c
	}
	labels := r.namespaceLabels(doc.Namespace)
	d := policy.EvaluateClient(r.server.document, labels, doc)
	c.served, c.Rule, c.AccessTokenLifetime = d.Accepted, d.Rule, d.AccessTokenLifetime.Duration()
	c.issuer, c.owners = r.server.document.Issuer, map[string]ResourceServerID{}
	for _, scope := range doc.Scopes {
		if oauth.IsBuiltInScope(scope) {
			c.scopes = append(c.scopes, scope)
			continue
		}
		if rs := r.findScopeOwner(scope); rs != nil && policy.AllowsScope(*rs, doc.Namespace, labels, scope) {
			c.scopes = append(c.scopes, scope)
			c.owners[scope] = ResourceServerID{rs.UID, rs.Identifier}
		}
	}
	return c
}

// Public says whether the client has no credentials (RFC 6749 section 2.1).
func (c *Client) IsPublic() bool { return c.AuthMethod == oauth.AuthMethodNone }

// HasGrant says whether the client registered a grant type, and so (being accepted) may use it.
func (c *Client) HasGrantType(grant string) bool { return slices.Contains(c.GrantTypes, grant) }

// Scopes that the client may have now: of those registered, the built-in ones, and those whose resource server is accepted and allows this
// client. In the order registered; the caller may keep and change the slice.
func (c *Client) Scopes() []string { return slices.Clone(c.scopes) }

// MayHave says whether the client may have a scope now.
func (c *Client) MayHaveScope(scope string) bool { return slices.Contains(c.scopes, scope) }

// ResolveScope gives the scopes that a request is granted. None requested stands for all that the
// client may have but openid and offline_access (RFC 6749 section 3.3 leaves the default to the
// server). Unavailable are built-in scopes that no client can have in the flow of the request.
//
// A built-in scope that the client cannot have is dropped: many clients add openid or
// offline_access to whatever they ask for. Any other is dropped if lenient, as authentication
// requests want it (OpenID Connect Core section 3.1.2.1); else the error wraps ErrInvalidScope and
// names it. What was requested may so be granted in no part, which is not the default.
func (c *Client) ResolveScopes(requested []string, lenient bool, unavailable ...string) (granted []string, err error) {
	available := func(scope string) bool { return c.MayHaveScope(scope) && !slices.Contains(unavailable, scope) }
	if len(requested) == 0 {
		for _, scope := range c.scopes {
			if scope != oauth.ScopeOpenID && scope != oauth.ScopeOfflineAccess && available(scope) {
				granted = append(granted, scope)
			}
		}
		return granted, nil
	}
	for _, scope := range requested {
		switch {
		case available(scope):
			granted = append(granted, scope)
		case !lenient && !oauth.IsBuiltInScope(scope):
			return nil, fmt.Errorf("%w: the client may not ask for scope %s", ErrInvalidScope, scope)
		}
	}
	return granted, nil
}

// Audience says who a token is for, and which of the scopes remain in it.
//
// With resources (RFC 8707) it is exactly those, each once and as it was registered; scopes of other resource servers are cut. Each must be the issuer, or a resource
// server that is accepted and allows this client; else the error wraps ErrInvalidTarget. Without, it is the owners of the scopes, and the
// issuer too if openid is among them or nobody owns any. Scopes that the client may not have now are cut in either case.
func (c *Client) ResolveAudience(scopes, resources []string) (aud, remaining []string, err error) {
	for _, resource := range resources {
		identifier, ok := c.resolveResource(resource)
		if !ok {
			return nil, nil, fmt.Errorf("%w: a resource is unknown, or does not allow this client", ErrInvalidTarget)
		}
		if !slices.Contains(aud, identifier) {
			aud = append(aud, identifier)
		}
	}
	for _, scope := range scopes {
		owner, owned := c.owners[scope]
		switch {
		case !c.MayHaveScope(scope), owned && len(resources) > 0 && !slices.Contains(aud, owner.Identifier):
			continue
		case owned && !slices.Contains(aud, owner.Identifier):
			aud = append(aud, owner.Identifier)
		}
		remaining = append(remaining, scope)
	}
	if len(resources) == 0 && (len(aud) == 0 || slices.Contains(remaining, oauth.ScopeOpenID)) {
		aud = append(aud, c.issuer)
	}
	return aud, remaining, nil
}

// target is the identifier of a resource as it was registered; false if the client may not name it.
func (c *Client) resolveResource(resource string) (identifier string, ok bool) {
	if c.isIssuer(resource) {
		return c.issuer, true
	}
	object, ok := c.ResourceServer(resource)
	return object.Identifier, ok
}

// isIssuer reports whether a resource is the server's own issuer, in either spelling of an empty
// path.
func (c *Client) isIssuer(resource string) bool {
	return oauth.CanonicalResource(resource) == oauth.CanonicalResource(c.issuer)
}
