package token

import (
	"context"

	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// exchangeClientCredentials handles the grant type client_credentials. It stores nothing and issues
// no refresh token (RFC 6749 section 4.4.3). The built-in scopes, which are about a user, are never
// granted.
func (h *Handler) exchangeClientCredentials(_ context.Context, client *registry.Client, form oauth.Params) (*response, error) {
	requested, err := oauth.ParseScope(form.Get("scope"))
	if err != nil {
		return nil, err
	}
	scopes, err := client.ResolveScopes(requested, false, oauth.BuiltInScopes...)
	if err != nil {
		return nil, err
	}
	resources, err := parseResources(form)
	if err != nil {
		return nil, err
	}
	audience, scopes, err := resolveAudience(client, scopes, resources)
	if err != nil {
		return nil, err
	}
	token, lifetime, err := h.Minter.AccessToken(mint.AccessTokenInput{
		Client: client, Subject: client.ID, Audience: audience, Scopes: scopes,
		TokenID: mint.TokenID{ClientUID: client.UID, StoreID: h.Grants.StoreID, Binding: client.PackBinding(scopes, audience)},
	})
	if err != nil {
		return nil, err
	}
	return newResponse(token, lifetime, scopes), nil
}
