package authorize

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// readScope: a built-in scope that the client cannot have here is dropped. What else it may not
// have is dropped in an authentication request (OpenID Connect Core section 3.1.2.1) and an error
// in any other (RFC 6749 section 4.1.2.1). What is granted in the end is said with the token.
func readScope(v *interaction.ResolvedFlow, params oauth.Params) error {
	asked, err := oauth.ParseScope(params.Get("scope"))
	if err != nil {
		return err
	}
	var unavailable []string
	if !v.Flow.HasResponseType("code") || !v.Client.HasGrantType(oauth.GrantRefreshToken) {
		// No refresh token can follow (OpenID Connect Core section 11).
		unavailable = append(unavailable, oauth.ScopeOfflineAccess)
	}
	v.Flow.Scopes, err = v.Client.ResolveScopes(asked, slices.Contains(asked, oauth.ScopeOpenID), unavailable...)
	if err != nil {
		return err
	}
	return checkOpenID(v)
}

// checkOpenID refuses an ID token from here without the scope that asks for one (OpenID Connect
// Core section 3.1.2.1).
func checkOpenID(v *interaction.ResolvedFlow) error {
	if v.Flow.HasResponseType("id_token") && !slices.Contains(v.Flow.Scopes, oauth.ScopeOpenID) {
		return oauth.Errorf(oauth.InvalidScope, "a response_type with id_token needs the scope openid, among the scopes that the client registered too")
	}
	return nil
}

// readResources: who the token is for, and the scopes cut to that (RFC 8707 section 2).
func readResources(v *interaction.ResolvedFlow, params oauth.Params) error {
	resources := params.All("resource")
	if len(resources) > oauth.MaxResources {
		return oauth.Errorf(oauth.InvalidTarget, "there are more than %d resources", oauth.MaxResources)
	}
	_, remaining, err := v.Client.ResolveAudience(v.Flow.Scopes, resources)
	if err != nil {
		return err
	}
	if len(v.Flow.Scopes) > 0 && len(remaining) == 0 {
		// A missing scope in the answer would mean that all was granted (RFC 6749 section 5.1).
		return oauth.Errorf(oauth.InvalidScope, "no scope is left for the resources that were asked for")
	}
	v.Flow.Resources, v.Flow.Scopes = resources, remaining
	return nil
}
