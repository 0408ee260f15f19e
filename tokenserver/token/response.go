package token

import (
	"net/url"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/jsontext"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// response is the token response (RFC 6749 section 5.1, OpenID Connect Core section 3.1.3.3).
type response struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	// ExpiresIn is in seconds.
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	// Scope of the access token. It is required if it differs from what the client asked for, also
	// if nothing of that was granted.
	Scope string `json:"scope"`
}

// AppendJSON implements jsontext.Appender.
func (r *response) AppendJSON(b []byte) []byte {
	o := jsontext.Begin(b, true)
	o.String("access_token", r.AccessToken)
	o.String("token_type", r.TokenType)
	o.Int("expires_in", r.ExpiresIn)
	o.StringNonEmpty("refresh_token", r.RefreshToken)
	o.StringNonEmpty("id_token", r.IDToken)
	o.String("scope", r.Scope)
	return o.End()
}

func newResponse(token string, lifetime time.Duration, scopes []string) *response {
	return &response{
		AccessToken: token, TokenType: oauth.TokenTypeBearer, ExpiresIn: int64(lifetime / time.Second), Scope: oauth.FormatScope(scopes),
	}
}

// issueTokens makes the tokens of a grant: an access token, an ID token if openid is among the
// scopes, and the refresh token if there is a new one.
func (h *Handler) issueTokens(client *registry.Client, result grant.Result, nonce string) (*response, error) {
	g := result.Grant
	token, lifetime, err := h.Minter.AccessToken(mint.AccessTokenInput{
		Client: client, Subject: g.Subject, Audience: result.Audience, Scopes: result.Scopes, AuthTime: g.AuthTime, AMR: g.AMR,
		TokenID: mint.TokenID{Grant: g.ID, Incarnation: g.Incarnation},
	})
	if err != nil {
		return nil, err
	}
	response := newResponse(token, lifetime, result.Scopes)
	response.RefreshToken = result.RefreshToken
	if !slices.Contains(result.Scopes, oauth.ScopeOpenID) {
		return response, nil
	}
	response.IDToken, err = h.Minter.IDToken(mint.IDTokenInput{
		Client: client, User: result.User, Subject: g.Subject, Scopes: result.Scopes, AuthTime: g.AuthTime, AMR: g.AMR,
		Nonce: nonce, ClaimsRequest: g.ClaimsRequest, Claims: mint.AllowedClaims(client, g.Claims), AccessToken: token,
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// parseResources returns the resource parameters, which are at most oauth.MaxResources absolute
// URIs without a fragment (RFC 8707 section 2).
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

// resolveAudience returns the audience of a token, and those of its scopes that belong to the
// audience. It is an error if no scope is left, since a missing scope in the response would mean
// that all were granted (RFC 6749 section 5.1).
func resolveAudience(client *registry.Client, scopes, resources []string) (audience, remaining []string, err error) {
	audience, remaining, err = client.ResolveAudience(scopes, resources)
	if err == nil && len(scopes) > 0 && len(remaining) == 0 {
		return nil, nil, oauth.Errorf(oauth.InvalidScope, "no scope is left for the resources that were asked for")
	}
	return audience, remaining, err
}
