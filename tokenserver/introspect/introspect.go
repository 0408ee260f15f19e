// Package introspect is the introspection endpoint (RFC 7662). It tells what a token stands for to
// the client that the token was issued to, and to the clients that a resource server in its
// audience lists. To other clients every token is inactive.
package introspect

import (
	"errors"
	"net/http"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/clientauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Handler handles requests to the introspection endpoint. All fields are required.
type Handler struct {
	Clients  *clientauth.Authenticator
	Grants   *grant.Service
	Registry *registry.Registry
}

// response is the introspection response (RFC 7662 section 2.2). For an inactive token it has only
// the field active.
type response struct {
	Active    bool          `json:"active"`
	Scope     string        `json:"scope,omitempty"`
	ClientID  string        `json:"client_id,omitempty"`
	TokenType string        `json:"token_type,omitempty"`
	Expires   int64         `json:"exp,omitempty"`
	IssuedAt  int64         `json:"iat,omitempty"`
	Subject   string        `json:"sub,omitempty"`
	Audience  mint.Audience `json:"aud,omitempty"`
	Issuer    string        `json:"iss,omitempty"`
	TokenID   string        `json:"jti,omitempty"`
	AuthTime  int64         `json:"auth_time,omitempty"`
	ACR       string        `json:"acr,omitempty"` // RFC 9470 section 6.2
	AMR       []string      `json:"amr,omitempty"`
	// IdentityProvider is the claim of ID tokens; empty if the client acts for itself.
	IdentityProvider string `json:"identity_provider,omitempty"`
}

// Handle answers an introspection request. It ignores token_type_hint, since each kind of token can
// be recognized.
func (h *Handler) Handle(w http.ResponseWriter, r *http.Request) error {
	if err := oauth.RefuseInQuery(r, "token", "client_id", "client_secret", "client_assertion"); err != nil {
		return err
	}
	form, err := oauth.ParseForm(r, true)
	if err != nil {
		return err
	}
	caller, err := h.Clients.AuthenticateConfidential(r, form)
	if err != nil {
		return err
	}
	web.NoteClient(r.Context(), caller.ID)
	if !form.Has("token") {
		return oauth.Errorf(oauth.InvalidRequest, "token is missing")
	}
	token := form.Get("token")
	info, err := h.Grants.CheckAccessToken(r.Context(), token)
	if err == nil {
		return web.JSON(w, http.StatusOK, h.describeAccessToken(caller, info))
	}
	if !errors.Is(err, grant.ErrInactive) {
		return err
	}
	info, err = h.Grants.CheckRefreshToken(r.Context(), token, caller)
	if err == nil {
		return web.JSON(w, http.StatusOK, h.describeRefreshToken(info))
	}
	if !errors.Is(err, grant.ErrInactive) {
		return err
	}
	return web.JSON(w, http.StatusOK, response{})
}

// describeAccessToken returns everything to the token's own client. To the client of a resource
// server it returns only the audience and scopes of that resource server.
func (h *Handler) describeAccessToken(caller *registry.Client, info *grant.TokenInfo) response {
	claims := info.Claims
	answer := response{
		Active: true, Scope: oauth.FormatScope(info.Scopes), ClientID: claims.ClientID, TokenType: oauth.TokenTypeBearer,
		Expires: claims.Expires, IssuedAt: claims.IssuedAt, Subject: claims.Subject, Audience: info.Audience,
		Issuer: claims.Issuer, TokenID: claims.ID, AuthTime: claims.AuthTime, ACR: claims.ACR, AMR: claims.AMR,
	}
	answer.IdentityProvider = identityProviderOf(info)
	if info.Client.UID == caller.UID {
		return answer
	}
	var audience, scopes []string
	for _, identifier := range info.Audience {
		if !h.Registry.MayIntrospect(caller.Namespace, caller.Name, identifier) {
			continue
		}
		audience = append(audience, identifier)
		scopes = append(scopes, h.declaredScopes(identifier, info.Scopes)...)
	}
	if len(audience) == 0 {
		return response{}
	}
	answer.Audience, answer.Scope = audience, oauth.FormatScope(scopes)
	return answer
}

// declaredScopes returns those of the token's scopes that the resource server declares.
func (h *Handler) declaredScopes(identifier string, scopes []string) []string {
	rs, ok := h.Registry.ResourceServer(identifier)
	if !ok {
		return nil
	}
	var declared []string
	for _, scope := range rs.Scopes {
		if slices.Contains(scopes, scope.Name) {
			declared = append(declared, scope.Name)
		}
	}
	return declared
}

// describeRefreshToken returns the response for a refresh token. CheckRefreshToken has checked that
// it was issued to the caller.
func (h *Handler) describeRefreshToken(info *grant.TokenInfo) response {
	answer := response{
		Active: true, Scope: oauth.FormatScope(info.Scopes), ClientID: info.Client.ID, Subject: info.Subject,
		Expires: info.Expires.Unix(), IssuedAt: info.IssuedAt.Unix(), IdentityProvider: identityProviderOf(info),
	}
	if server, ok := h.Registry.Server(); ok {
		answer.Issuer = server.Issuer
	}
	return answer
}

func identityProviderOf(info *grant.TokenInfo) string {
	if info.User == nil {
		return ""
	}
	return info.User.ProviderName
}
