package token

import (
	"context"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// exchangeCode handles the grant type authorization_code.
func (h *Handler) exchangeCode(ctx context.Context, client *registry.Client, form oauth.Params) (*response, error) {
	if !form.Has("code") {
		return nil, oauth.Errorf(oauth.InvalidRequest, "code is missing")
	}
	resources, err := parseResources(form)
	if err != nil {
		return nil, err
	}
	result, err := h.Grants.Redeem(ctx, grant.RedeemRequest{
		Client:       client,
		Code:         form.Get("code"),
		RedirectURI:  form.Get("redirect_uri"),
		CodeVerifier: form.Get("code_verifier"),
		Resources:    resources,
	})
	if err != nil {
		return nil, err
	}
	return h.issueTokens(client, result, result.Grant.Nonce)
}
