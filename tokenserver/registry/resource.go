package registry

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// ResourceServer is a resource server that the rules of the server allow.
type ResourceServer struct {
	documents.ResourceServer
}

// ResourceServer with this identifier; false if it is unknown or not allowed.
func (r *Registry) ResourceServer(identifier string) (*ResourceServer, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	rs := r.acceptedResourceServer(identifier)
	if rs == nil {
		return nil, false
	}
	return &ResourceServer{*rs}, true
}

// ScopeDescription is what the resource server that owns a scope says of it; empty for any other scope.
func (r *Registry) ScopeDescription(scope string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	rs := r.findScopeOwner(scope)
	if rs == nil {
		return ""
	}
	return rs.Scopes[indexOf(rs.Scopes, scope)].Description
}

// ScopeOwner is the identifier of the resource server that owns a scope; false for any other scope.
func (r *Registry) ScopeOwner(scope string) (identifier string, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	rs := r.findScopeOwner(scope)
	if rs == nil {
		return "", false
	}
	return rs.Identifier, true
}

// MayIntrospect says whether a resource server lists a client as one that may introspect its tokens (RFC 7662 section 2.1).
func (r *Registry) MayIntrospect(clientNamespace, clientName, identifier string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	rs := r.acceptedResourceServer(identifier)
	return rs != nil && slices.Contains(rs.IntrospectionClients, documents.ClientName{Namespace: clientNamespace, Name: clientName})
}

// Scopes that exist: the built-in ones, then those of resource servers, sorted.
func (r *Registry) Scopes() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var declared []string
	for c := range r.names {
		if c.space == SpaceScope && r.findScopeOwner(c.value) != nil {
			declared = append(declared, c.value)
		}
	}
	slices.Sort(declared)
	return append(slices.Clone(oauth.BuiltInScopes), declared...)
}

// Epoch is another number after every change of the server, a namespace, a resource server or a scope: what was worked out from them holds
// while it stays the same.
func (r *Registry) RulesRevision() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.rulesRevision
}

// accepted is the resource server with this identifier, in either spelling of an empty path, if the
// rules allow it, else nil. The caller has the lock.
func (r *Registry) acceptedResourceServer(identifier string) *documents.ResourceServer {
	h := r.resourceServers[oauth.CanonicalResource(identifier)]
	if h == nil || r.server == nil {
		return nil
	}
	if !policy.EvaluateResourceServer(r.server.document, r.namespaceLabels(h.document.Namespace), h.document).Accepted {
		return nil
	}
	return &h.document
}

// ownerOf is the accepted resource server that declares a scope and holds its name, else nil. A built-in scope has no owner, whatever is
// claimed. The caller has the lock.
func (r *Registry) findScopeOwner(scope string) *documents.ResourceServer {
	if oauth.IsBuiltInScope(scope) {
		return nil
	}
	held := r.resourceServersByUID[r.names[nameKey{SpaceScope, scope}].uid]
	if held == nil || indexOf(held.document.Scopes, scope) < 0 {
		return nil
	}
	return r.acceptedResourceServer(held.document.Identifier)
}

func indexOf(scopes []documents.Scope, name string) int {
	return slices.IndexFunc(scopes, func(s documents.Scope) bool { return s.Name == name })
}
