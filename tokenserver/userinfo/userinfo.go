// Package userinfo is the UserInfo endpoint (OpenID Connect Core section 5.3). It returns claims
// about the user for an access token of the user with the issuer in its audience and the scope
// openid. Its errors are those of RFC 6750.
//
//	userinfo.go  the endpoint
//	bearer.go    the access token in a request, and the challenges
package userinfo

import (
	"errors"
	"maps"
	"net/http"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Handler handles requests to the UserInfo endpoint. All fields are required.
type Handler struct {
	Grants   *grant.Service
	Registry *registry.Registry
}

// Handle answers a UserInfo request.
func (h *Handler) Handle(w http.ResponseWriter, r *http.Request) error {
	server, ok := h.Registry.Server()
	if !ok {
		return web.NotReady()
	}
	token, refused := parseBearerToken(r)
	if refused != nil {
		return withChallenge(server.Issuer, refused)
	}
	if token == "" {
		// The challenge for a request without a token has no error code (RFC 6750 section 3.1).
		w.Header().Set("WWW-Authenticate", challenge(server.Issuer))
		return web.NoBody(w, http.StatusUnauthorized)
	}
	info, err := h.Grants.CheckAccessToken(r.Context(), token)
	switch {
	case errors.Is(err, grant.ErrInactive):
		return withChallenge(server.Issuer, oauth.Errorf(oauth.InvalidToken, "the access token is expired, revoked or not one of this server"))
	case err != nil:
		return err
	}
	web.NoteClient(r.Context(), info.Client.ID)
	switch {
	case !info.Audience.Contains(server.Issuer):
		return withChallenge(server.Issuer, oauth.Errorf(oauth.InvalidToken, "the access token is meant for another resource"))
	case info.User == nil || !slices.Contains(info.Scopes, oauth.ScopeOpenID):
		return withChallenge(server.Issuer, oauth.Errorf(oauth.InsufficientScope, "the access token lacks the scope openid"))
	}
	return web.JSON(w, http.StatusOK, collectClaims(info))
}

// collectClaims returns the claims about the user that the token's scopes request, those that the
// claims parameter requested, and those that the client registered. The subject is that of the ID
// token (OpenID Connect Core section 5.3.2).
func collectClaims(info *grant.TokenInfo) map[string]any {
	claims := mint.ClaimsByScope(info.User, info.Scopes)
	requested := append(mint.RequestedClaims(info.Grant.ClaimsRequest, "userinfo"), info.RequestedClaims...)
	maps.Copy(claims, mint.ClaimsByName(info.User, info.Scopes, requested))
	maps.Copy(claims, mint.GrantedClaims(info.User, info.GrantedClaims, requested))
	maps.Copy(claims, mint.RegisteredClaims(info.User, info.Client))
	mint.AddIdentityProvider(claims, info.User)
	claims["sub"] = info.Subject
	return claims
}
