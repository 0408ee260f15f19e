package token

import (
	"context"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// exchangeRefreshToken handles the grant type refresh_token.
func (h *Handler) exchangeRefreshToken(ctx context.Context, client *registry.Client, form oauth.Params) (*response, error) {
	if !form.Has("refresh_token") {
		return nil, oauth.Errorf(oauth.InvalidRequest, "refresh_token is missing")
	}
	scopes, err := oauth.ParseScope(form.Get("scope"))
	if err != nil {
		return nil, err
	}
	resources, err := parseResources(form)
	if err != nil {
		return nil, err
	}
	result, err := h.Grants.Refresh(ctx, grant.RefreshRequest{
		Client:       client,
		RefreshToken: form.Get("refresh_token"),
		Scopes:       scopes,
		Resources:    resources,
	})
	if err != nil {
		return nil, err
	}
	// A refreshed ID token needs no nonce, and has the auth_time of the login (OpenID Connect Core
	// section 12.2).
	return h.issueTokens(client, result, "")
}
