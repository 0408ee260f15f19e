package authorize

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// readScope reads scope. It drops a built-in scope that the client cannot have in this flow. Any
// other scope that the client may not have is dropped in an authentication request (OpenID Connect
// Core section 3.1.2.1) and an error in another request (RFC 6749 section 4.1.2.1). The token
// response says what was granted.
func readScope(flow *interaction.ResolvedFlow, params oauth.Params) error {
	requested, err := oauth.ParseScope(params.Get("scope"))
	if err != nil {
		return err
	}
	var unavailable []string
	if !flow.HasResponseType("code") || !flow.Client.HasGrantType(oauth.GrantRefreshToken) {
		// There can be no refresh token (OpenID Connect Core section 11).
		unavailable = append(unavailable, oauth.ScopeOfflineAccess)
	}
	flow.Scopes, err = flow.Client.ResolveScopes(requested, slices.Contains(requested, oauth.ScopeOpenID), unavailable...)
	if err != nil {
		return err
	}
	return checkOpenID(flow)
}

// checkOpenID refuses a response type with an ID token if the scope openid is not granted (OpenID
// Connect Core section 3.1.2.1).
func checkOpenID(flow *interaction.ResolvedFlow) error {
	if flow.HasResponseType("id_token") && !slices.Contains(flow.Scopes, oauth.ScopeOpenID) {
		return oauth.Errorf(oauth.InvalidScope, "a response_type with id_token needs the scope openid, and the client has to list it in its scopes")
	}
	return nil
}

// readResources reads the resources that the token is for, and drops the scopes of others (RFC 8707
// section 2).
func readResources(flow *interaction.ResolvedFlow, params oauth.Params) error {
	resources := params.All("resource")
	if len(resources) > oauth.MaxResources {
		return oauth.Errorf(oauth.InvalidTarget, "there are more than %d resources", oauth.MaxResources)
	}
	_, remaining, err := flow.Client.ResolveAudience(flow.Scopes, resources)
	if err != nil {
		return err
	}
	if len(flow.Scopes) > 0 && len(remaining) == 0 {
		// A token response without a scope would mean that all was granted (RFC 6749 section 5.1).
		return oauth.Errorf(oauth.InvalidScope, "no scope is left for the resources that were asked for")
	}
	flow.Resources, flow.Scopes = resources, remaining
	return nil
}
