package token

import (
	"net/url"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// answer of the token endpoint (RFC 6749 section 5.1, OpenID Connect Core section 3.1.3.3).
type response struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	// ExpiresIn is in seconds.
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	// Scope of the access token. It must be there when it differs from what was asked for, so also
	// when nothing of that was granted.
	Scope string `json:"scope"`
}

func newResponse(token string, lifetime time.Duration, scopes []string) *response {
	return &response{
		AccessToken: token, TokenType: oauth.TokenTypeBearer, ExpiresIn: int64(lifetime / time.Second), Scope: oauth.FormatScope(scopes),
	}
}

// answerFor makes the tokens of a grant: an access token, an ID token with openid, and the refresh token if there is a new one.
func (h *Handler) issueTokens(client *registry.Client, out grant.Result, nonce string) (*response, error) {
	g := out.Grant
	token, lifetime, err := h.Minter.AccessToken(mint.AccessTokenInput{
		Client: client, Subject: g.Subject, Audience: out.Audience, Scopes: out.Scopes, AuthTime: g.AuthTime, AMR: g.AMR,
		TokenID: mint.TokenID{Grant: g.ID, Incarnation: g.Incarnation},
	})
	if err != nil {
		return nil, err
	}
	a := newResponse(token, lifetime, out.Scopes)
	a.RefreshToken = out.RefreshToken
	if !slices.Contains(out.Scopes, oauth.ScopeOpenID) {
		return a, nil
	}
	a.IDToken, err = h.Minter.IDToken(mint.IDTokenInput{
		Client: client, User: out.User, Subject: g.Subject, Scopes: out.Scopes, AuthTime: g.AuthTime, AMR: g.AMR,
		Nonce: nonce, ClaimsRequest: g.ClaimsRequest, Claims: mint.AllowedClaims(client, g.Claims), AccessToken: token,
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// resourcesOf reads the resource parameters: absolute URIs without fragment (RFC 8707 section 2),
// and not too many.
func parseResources(form oauth.Params) ([]string, error) {
	resources := form.All("resource")
	if len(resources) > oauth.MaxResources {
		return nil, oauth.Errorf(oauth.InvalidTarget, "there are more than %d resources", oauth.MaxResources)
	}
	for _, resource := range resources {
		u, err := url.Parse(resource)
		if err != nil || !u.IsAbs() || u.Fragment != "" || slices.Contains([]byte(resource), '#') {
			return nil, oauth.Errorf(oauth.InvalidTarget, "resource must be an absolute URI without a fragment")
		}
	}
	return resources, nil
}

// audienceOf a token, and what remains of its scopes. If nothing does, that is an error: a missing scope in the answer would mean that all was
// granted (RFC 6749 section 5.1).
func resolveAudience(client *registry.Client, scopes, resources []string) (audience, remaining []string, err error) {
	audience, remaining, err = client.ResolveAudience(scopes, resources)
	if err == nil && len(scopes) > 0 && len(remaining) == 0 {
		return nil, nil, oauth.Errorf(oauth.InvalidScope, "no scope is left for the resources that were asked for")
	}
	return audience, remaining, err
}
