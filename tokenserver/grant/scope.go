package grant

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// authorized is what an authorization covers: scopes and resources, of these objects.
type authorized struct {
	scopes, resources []string
	of                registry.Binding
}

// authorizedBy a grant.
func authorizedBy(g storage.Grant) authorized {
	of := registry.Binding{ScopeOwners: map[string]registry.UIDHash{}}
	for _, api := range g.APIs {
		key := registry.HashUID(api.UID)
		of.ResourceServers = append(of.ResourceServers, key)
		for _, scope := range api.Scopes {
			of.ScopeOwners[scope] = key
		}
	}
	return authorized{g.Scopes, g.Resources, of}
}

// apis are the resource servers that scopes and resources are of now, each with those of the scopes
// that are its own.
func apis(client *registry.Client, scopes, resources []string) (all []storage.API) {
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
func access(client *registry.Client, a authorized, askedScopes, askedResources []string) (scopes, audience []string, err error) {
	wanted := a.scopes
	if len(askedScopes) > 0 {
		wanted = nil
		for _, scope := range askedScopes {
			switch {
			case slices.Contains(a.scopes, scope):
				wanted = append(wanted, scope)
			case oauth.IsAPIScope(scope):
				return nil, nil, &Refused{What: Scope, Sentence: "a scope was not granted; ask the user for it at the authorization endpoint"}
			}
		}
	}
	targets, err := targets(client, a, askedResources)
	if err != nil {
		return nil, nil, err
	}
	audience, scopes, err = client.ResolveAudience(a.of.KeepScopes(client, wanted), targets)
	if err != nil {
		return nil, nil, &Refused{What: Target, Sentence: "a resource is unknown, or its owner does not allow this client"}
	}
	if len(scopes) == 0 && slices.ContainsFunc(wanted, oauth.IsAPIScope) {
		// A token for nothing that was wanted of an API serves no purpose.
		if len(askedScopes)+len(askedResources) > 0 {
			return nil, nil, &Refused{What: Scope, Sentence: "no scope of those that were granted is left for what was asked"}
		}
		return nil, nil, refuse("no scope of the authorization is allowed any more")
	}
	return scopes, audience, nil
}

// covers reports whether a resource is among those of an authorization, in either spelling of an
// empty path (RFC 3986 section 6.2.3).
func covers(resources []string, asked string) bool {
	return slices.ContainsFunc(resources, func(resource string) bool {
		return oauth.CanonicalResource(resource) == oauth.CanonicalResource(asked)
	})
}

// targets are the resources that a token is for; none: the owners of its scopes.
func targets(client *registry.Client, a authorized, asked []string) ([]string, error) {
	// Of the resources that were authorized, one may be gone by now. The others still hold.
	left := a.of.KeepResources(client, a.resources)
	if len(asked) > 0 {
		covered := left
		if len(a.resources) == 0 {
			var err error
			if covered, _, err = client.ResolveAudience(a.of.KeepScopes(client, a.scopes), nil); err != nil {
				return nil, &Refused{What: Target, Sentence: "the authorization covers no resource any more"}
			}
		}
		for _, resource := range asked {
			if !covers(covered, resource) {
				return nil, &Refused{What: Target, Sentence: "a resource is not covered by the authorization"}
			}
		}
		return asked, nil
	}
	if len(a.resources) > 0 && len(left) == 0 {
		return nil, &Refused{What: Target, Sentence: "no resource of the authorization is available to this client any more"}
	}
	return left, nil
}
