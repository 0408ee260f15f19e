package grant

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registration"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// access decides scopes and audience of one access token. Granted and resources are the grant's; askedScopes and askedResources the token
// request's, which may narrow them and never widen (RFC 6749 section 6, RFC 8707 section 2.2); a built-in scope that is asked and was not
// granted is dropped. What is no longer allowed now is cut.
func access(client *registry.Client, granted, askedScopes, resources, askedResources []string) (scopes, audience []string, err error) {
	wanted := granted
	if len(askedScopes) > 0 {
		wanted = nil
		for _, scope := range askedScopes {
			switch {
			case slices.Contains(granted, scope):
				wanted = append(wanted, scope)
			case oauth.APIScope(scope):
				return nil, nil, &Refused{What: Scope, Sentence: "a scope was not granted; ask the user for it at the authorization endpoint"}
			}
		}
	}
	targets, err := targets(client, granted, resources, askedResources)
	if err != nil {
		return nil, nil, err
	}
	audience, scopes, err = client.Audience(wanted, targets)
	if err != nil {
		return nil, nil, &Refused{What: Target, Sentence: "a resource is unknown, or its owner does not allow this client"}
	}
	if len(scopes) == 0 && slices.ContainsFunc(wanted, oauth.APIScope) {
		// A token for nothing that was wanted of an API serves no purpose.
		if len(askedScopes)+len(askedResources) > 0 {
			return nil, nil, &Refused{What: Scope, Sentence: "no scope of those that were granted is left for what was asked"}
		}
		return nil, nil, refuse("no scope of the authorization is allowed any more")
	}
	return scopes, audience, nil
}

// covers reports whether a resource is among those of an authorization, in either spelling of an empty path (RFC 3986 section 6.2.3).
func covers(resources []string, asked string) bool {
	return slices.ContainsFunc(resources, func(resource string) bool {
		return registration.CanonicalIdentifier(resource) == registration.CanonicalIdentifier(asked)
	})
}

// targets are the resources that a token is for; none: the owners of its scopes.
func targets(client *registry.Client, granted, resources, asked []string) ([]string, error) {
	if len(asked) > 0 {
		covered := resources
		if len(covered) == 0 {
			var err error
			if covered, _, err = client.Audience(granted, nil); err != nil {
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
	// Of the resources that were authorized, one may be gone by now. The others still hold.
	var left []string
	for _, resource := range resources {
		if _, _, err := client.Audience(nil, []string{resource}); err == nil {
			left = append(left, resource)
		}
	}
	if len(resources) > 0 && len(left) == 0 {
		return nil, &Refused{What: Target, Sentence: "no resource of the authorization is available to this client any more"}
	}
	return left, nil
}
