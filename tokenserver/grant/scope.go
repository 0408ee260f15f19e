package grant

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// authorized is what an authorization covers: scopes and resources, of these objects.
type coverage struct {
	scopes, resources []string
	objects           registry.Binding
}

// authorizedBy a grant.
func coverageOf(g storage.Grant) coverage {
	of := registry.Binding{ScopeOwners: map[string]registry.UIDHash{}}
	for _, api := range g.APIs {
		key := registry.HashUID(api.UID)
		of.ResourceServers = append(of.ResourceServers, key)
		for _, scope := range api.Scopes {
			of.ScopeOwners[scope] = key
		}
	}
	return coverage{g.Scopes, g.Resources, of}
}

// apis are the resource servers that scopes and resources are of now, each with those of the scopes
// that are its own.
func apisOf(client *registry.Client, scopes, resources []string) (all []storage.API) {
	at := func(o registry.ResourceServerID) *storage.API {
		i := slices.IndexFunc(all, func(api storage.API) bool { return api.UID == o.UID })
		if i < 0 {
			i, all = len(all), append(all, storage.API{UID: o.UID, Identifier: o.Identifier})
		}
		return &all[i]
	}
	for _, resource := range resources {
		if object, ok := client.ResourceServer(resource); ok {
			at(object)
		}
	}
	for _, scope := range scopes {
		if owner, ok := client.ScopeOwner(scope); ok {
			api := at(owner)
			api.Scopes = append(api.Scopes, scope)
		}
	}
	return all
}

// access decides scopes and audience of one access token. The request's askedScopes and
// askedResources may narrow what was authorized and never widen it (RFC 6749 section 6, RFC 8707
// section 2.2); a built-in scope that is asked and was not granted is dropped. What is no longer
// allowed now is cut, and so is what is now of another object than was authorized.
func resolveAccess(client *registry.Client, a coverage, askedScopes, askedResources []string) (scopes, audience []string, err error) {
	wanted := a.scopes
	if len(askedScopes) > 0 {
		wanted = nil
		for _, scope := range askedScopes {
			switch {
			case slices.Contains(a.scopes, scope):
				wanted = append(wanted, scope)
			case oauth.IsAPIScope(scope):
				return nil, nil, &RefusedError{Kind: InvalidScope, Reason: "a scope was not granted; ask the user for it at the authorization endpoint"}
			}
		}
	}
	targets, err := resolveTargets(client, a, askedResources)
	if err != nil {
		return nil, nil, err
	}
	audience, scopes, err = client.ResolveAudience(a.objects.KeepScopes(client, wanted), targets)
	if err != nil {
		return nil, nil, &RefusedError{Kind: InvalidTarget, Reason: "a resource is unknown, or its owner does not allow this client"}
	}
	if len(scopes) == 0 && slices.ContainsFunc(wanted, oauth.IsAPIScope) {
		// A token for nothing that was wanted of an API serves no purpose.
		if len(askedScopes)+len(askedResources) > 0 {
			return nil, nil, &RefusedError{Kind: InvalidScope, Reason: "no scope of those that were granted is left for what was asked"}
		}
		return nil, nil, invalidGrant("no scope of the authorization is allowed any more")
	}
	return scopes, audience, nil
}

// covers reports whether a resource is among those of an authorization, in either spelling of an
// empty path (RFC 3986 section 6.2.3).
func containsResource(resources []string, asked string) bool {
	return slices.ContainsFunc(resources, func(resource string) bool {
		return oauth.CanonicalResource(resource) == oauth.CanonicalResource(asked)
	})
}

// targets are the resources that a token is for; none: the owners of its scopes.
func resolveTargets(client *registry.Client, a coverage, asked []string) ([]string, error) {
	// Of the resources that were authorized, one may be gone by now. The others still hold.
	left := a.objects.KeepResources(client, a.resources)
	if len(asked) > 0 {
		covered := left
		if len(a.resources) == 0 {
			var err error
			if covered, _, err = client.ResolveAudience(a.objects.KeepScopes(client, a.scopes), nil); err != nil {
				return nil, &RefusedError{Kind: InvalidTarget, Reason: "the authorization covers no resource any more"}
			}
		}
		for _, resource := range asked {
			if !containsResource(covered, resource) {
				return nil, &RefusedError{Kind: InvalidTarget, Reason: "a resource is not covered by the authorization"}
			}
		}
		return asked, nil
	}
	if len(a.resources) > 0 && len(left) == 0 {
		return nil, &RefusedError{Kind: InvalidTarget, Reason: "no resource of the authorization is available to this client any more"}
	}
	return left, nil
}
