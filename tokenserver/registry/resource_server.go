package registry

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// ResourceServer returns the resource server with an identifier; false if it is unknown or not
// accepted by the rules of the server.
func (r *Registry) ResourceServer(identifier string) (documents.ResourceServer, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	rs := r.acceptedResourceServer(identifier)
	if rs == nil {
		return documents.ResourceServer{}, false
	}
	return *rs, true
}

// ScopeDescription returns how the resource server that owns a scope describes it; empty for any
// other scope.
func (r *Registry) ScopeDescription(scope string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	rs := r.findScopeOwner(scope)
	if rs == nil {
		return ""
	}
	return rs.Scopes[indexOf(rs.Scopes, scope)].Description
}

// MayIntrospect reports whether a resource server lists a client as one that may introspect its
// tokens (RFC 7662 section 2.1).
func (r *Registry) MayIntrospect(clientNamespace, clientName, identifier string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	rs := r.acceptedResourceServer(identifier)
	return rs != nil && slices.Contains(rs.IntrospectionClients, documents.ClientName{Namespace: clientNamespace, Name: clientName})
}

// Scopes returns the scopes that exist: the built-in ones, then those of resource servers, sorted.
func (r *Registry) Scopes() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var declared []string
	for scope := range r.names[SpaceScope] {
		if r.findScopeOwner(scope) != nil {
			declared = append(declared, scope)
		}
	}
	slices.Sort(declared)
	return append(slices.Clone(oauth.BuiltInScopes), declared...)
}

// acceptedResourceServer returns the resource server with an identifier, in either spelling of an
// empty path; nil if it is unknown or not accepted by the rules. The caller holds the lock.
func (r *Registry) acceptedResourceServer(identifier string) *documents.ResourceServer {
	rs := r.resourceServers[oauth.CanonicalResource(identifier)]
	if rs == nil || r.server == nil {
		return nil
	}
	if !policy.EvaluateResourceServer(r.server.document, r.namespaceLabels(rs.document.Namespace), rs.document).Accepted {
		return nil
	}
	return &rs.document
}

// findScopeOwner returns the accepted resource server that declares a scope and owns its name; nil
// if there is none. A built-in scope has no owner, whatever entries say. The caller holds the lock.
func (r *Registry) findScopeOwner(scope string) *documents.ResourceServer {
	if oauth.IsBuiltInScope(scope) {
		return nil
	}
	rs := r.resourceServersByUID[r.ownerOf(SpaceScope, scope)]
	if rs == nil || indexOf(rs.document.Scopes, scope) < 0 {
		return nil
	}
	return r.acceptedResourceServer(rs.document.Identifier)
}

func indexOf(scopes []documents.Scope, name string) int {
	return slices.IndexFunc(scopes, func(s documents.Scope) bool { return s.Name == name })
}
