package grant

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// coverage is what an authorization covers: scopes and resources, and the ResourceServer objects
// that they belong to.
type coverage struct {
	scopes, resources []string
	binding           registry.Binding
}

func coverageOf(g storage.Grant) coverage {
	binding := registry.Binding{ScopeOwners: map[string]registry.UIDHash{}}
	for _, api := range g.APIs {
		hash := registry.HashUID(api.UID)
		binding.ResourceServers = append(binding.ResourceServers, hash)
		for _, scope := range api.Scopes {
			binding.ScopeOwners[scope] = hash
		}
	}
	return coverage{g.Scopes, g.Resources, binding}
}

func coverageOfCode(c code) coverage {
	return coverage{c.Scopes, c.Resources, c.Binding.Unpack(c.Scopes)}
}

// apisOf returns the ResourceServers that the scopes and resources belong to now, each with those
// of the scopes that it owns.
func apisOf(client *registry.Client, scopes, resources []string) (all []storage.API) {
	find := func(o registry.ResourceServerID) *storage.API {
		i := slices.IndexFunc(all, func(api storage.API) bool { return api.UID == o.UID })
		if i < 0 {
			i, all = len(all), append(all, storage.API{UID: o.UID, Identifier: o.Identifier})
		}
		return &all[i]
	}
	for _, resource := range resources {
		if resourceServer, ok := client.ResourceServer(resource); ok {
			find(resourceServer)
		}
	}
	for _, scope := range scopes {
		if owner, ok := client.ScopeOwner(scope); ok {
			api := find(owner)
			api.Scopes = append(api.Scopes, scope)
		}
	}
	return all
}

// resolveAccess returns the scopes and the audience of one access token. The request may narrow
// what was authorized and never widen it (RFC 6749 section 6, RFC 8707 section 2.2). A built-in
// scope that it asks for and that was not granted is dropped. Left out is also what the client may
// no longer have, and what now belongs to another ResourceServer object.
func resolveAccess(client *registry.Client, c coverage, askedScopes, askedResources []string) (scopes, audience []string, err error) {
	wanted := c.scopes
	if len(askedScopes) > 0 {
		wanted = nil
		for _, scope := range askedScopes {
			switch {
			case slices.Contains(c.scopes, scope):
				wanted = append(wanted, scope)
			case oauth.IsAPIScope(scope):
				return nil, nil, &RefusedError{InvalidScope, "a scope was not granted; ask the user for it at the authorization endpoint"}
			}
		}
	}
	targets, err := resolveTargets(client, c, askedResources)
	if err != nil {
		return nil, nil, err
	}
	audience, scopes, err = client.ResolveAudience(c.binding.KeepScopes(client, wanted), targets)
	if err != nil {
		return nil, nil, &RefusedError{InvalidTarget, "a resource is unknown, or its owner does not allow this client"}
	}
	if len(scopes) == 0 && slices.ContainsFunc(wanted, oauth.IsAPIScope) {
		// The token would be of no use at any API that was asked for.
		if len(askedScopes)+len(askedResources) > 0 {
			return nil, nil, &RefusedError{InvalidScope, "no scope of those that were granted is left for what was asked"}
		}
		return nil, nil, invalidGrant("no scope of the authorization is allowed any more")
	}
	return scopes, audience, nil
}

// containsResource reports whether a resource is in the list. An empty path and "/" are the same
// (RFC 3986 section 6.2.3).
func containsResource(resources []string, asked string) bool {
	return slices.ContainsFunc(resources, func(resource string) bool {
		return oauth.CanonicalResource(resource) == oauth.CanonicalResource(asked)
	})
}

// resolveTargets returns the resources that a token is for. If there are none, its scopes decide.
// Resources of the authorization that are gone by now are left out.
func resolveTargets(client *registry.Client, c coverage, asked []string) ([]string, error) {
	left := c.binding.KeepResources(client, c.resources)
	if len(asked) > 0 {
		covered := left
		if len(c.resources) == 0 {
			var err error
			if covered, _, err = client.ResolveAudience(c.binding.KeepScopes(client, c.scopes), nil); err != nil {
				return nil, &RefusedError{InvalidTarget, "the authorization covers no resource any more"}
			}
		}
		for _, resource := range asked {
			if !containsResource(covered, resource) {
				return nil, &RefusedError{InvalidTarget, "a resource is not covered by the authorization"}
			}
		}
		return asked, nil
	}
	if len(c.resources) > 0 && len(left) == 0 {
		return nil, &RefusedError{InvalidTarget, "no resource of the authorization is available to this client any more"}
	}
	return left, nil
}
