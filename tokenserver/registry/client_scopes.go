package registry

import (
	"fmt"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// Scopes returns the scopes that the client may have now, in the order registered: the built-in
// ones, and those whose resource server is accepted and allows this client. The caller may change
// the slice.
func (c *Client) Scopes() []string {
	var names []string
	for _, scope := range c.scopes {
		names = append(names, scope.name)
	}
	return names
}

// MayHaveScope reports whether the client may have a scope now.
func (c *Client) MayHaveScope(scope string) bool {
	_, ok := c.findScope(scope)
	return ok
}

// findScope returns a scope that the client may have now.
func (c *Client) findScope(name string) (clientScope, bool) {
	for _, scope := range c.scopes {
		if scope.name == name {
			return scope, true
		}
	}
	return clientScope{}, false
}

// ResolveScopes returns the scopes that a request is granted. Without requested scopes, these are
// all that the client may have except openid and offline_access (RFC 6749 section 3.3 leaves the
// default to the server). Unavailable are built-in scopes that no client can have in the flow of
// the request.
//
// A built-in scope that the client cannot have is dropped: many clients add openid or
// offline_access to any request. Any other is dropped if lenient, as authentication requests want
// it (OpenID Connect Core section 3.1.2.1); otherwise the error wraps ErrInvalidScope and names it.
// If all that was requested is dropped, nothing is granted, not the default.
func (c *Client) ResolveScopes(requested []string, lenient bool, unavailable ...string) (granted []string, err error) {
	available := func(scope string) bool {
		return c.MayHaveScope(scope) && !slices.Contains(unavailable, scope)
	}
	if len(requested) == 0 {
		for _, scope := range c.Scopes() {
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

// ResolveAudience returns the audience of a token, and which of the scopes remain in it.
//
// With resources (RFC 8707) the audience is exactly those, each once and as it was registered, and
// scopes of other resource servers are dropped. Each must be the issuer, or a resource server that
// is accepted and allows this client; otherwise the error wraps ErrInvalidTarget. Without
// resources, the audience is the owners of the scopes, and the issuer too if openid is among the
// scopes or none has an owner. Scopes that the client may not have now are dropped in either case.
func (c *Client) ResolveAudience(scopes, resources []string) (audience, remaining []string, err error) {
	for _, resource := range resources {
		identifier, ok := c.resolveResource(resource)
		if !ok {
			return nil, nil, fmt.Errorf("%w: a resource is unknown, or does not allow this client", ErrInvalidTarget)
		}
		if !slices.Contains(audience, identifier) {
			audience = append(audience, identifier)
		}
	}
	for _, scope := range scopes {
		found, ok := c.findScope(scope)
		owner, owned := found.ownerID()
		switch {
		case !ok, owned && len(resources) > 0 && !slices.Contains(audience, owner.Identifier):
			continue
		case owned && !slices.Contains(audience, owner.Identifier):
			audience = append(audience, owner.Identifier)
		}
		remaining = append(remaining, scope)
	}
	if len(resources) == 0 && (len(audience) == 0 || slices.Contains(remaining, oauth.ScopeOpenID)) {
		audience = append(audience, c.issuer)
	}
	return audience, remaining, nil
}

// resolveResource returns the identifier of a resource as it was registered; false if the client
// may not name it.
func (c *Client) resolveResource(resource string) (identifier string, ok bool) {
	if c.isIssuer(resource) {
		return c.issuer, true
	}
	rs, ok := c.ResourceServer(resource)
	return rs.Identifier, ok
}

// isIssuer reports whether a resource is the server's own issuer, in either spelling of an empty
// path.
func (c *Client) isIssuer(resource string) bool {
	return oauth.CanonicalResource(resource) == oauth.CanonicalResource(c.issuer)
}

// ownerID identifies the resource server that owns the scope; false for a built-in one.
func (s clientScope) ownerID() (ResourceServerID, bool) {
	if s.owner == nil {
		return ResourceServerID{}, false
	}
	return ResourceServerID{s.owner.UID, s.owner.Identifier}, true
}
