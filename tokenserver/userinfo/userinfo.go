// Package userinfo is the UserInfo endpoint (OpenID Connect Core section 5.3): claims about the user, to whoever has an access token of theirs
// that is meant for this server and has the scope openid. It speaks the errors of RFC 6750.
//
//	userinfo.go  the endpoint
//	bearer.go    where a request carries its token, and the challenges
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

// Handler of the UserInfo endpoint. All fields are needed.
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
	token, refused := bearerToken(r)
	if refused != nil {
		return withChallenge(server.Issuer, refused)
	}
	if token == "" {
		// Who brings nothing is told how to begin, and no error (RFC 6750 section 3.1).
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

// claimsOf the user that the token's scopes stand for, those that the claims parameter asked for,
// and those that the client registered. The subject is that of the ID token (OpenID Connect Core
// section 5.3.2).
func collectClaims(info *grant.TokenInfo) map[string]any {
	claims := mint.ClaimsByScope(info.User, info.Scopes)
	requested := append(mint.RequestedClaims(info.Grant.ClaimsRequest, "userinfo"), info.RequestedClaims...)
	maps.Copy(claims, mint.ClaimsByName(info.User, info.Scopes, requested))
	maps.Copy(claims, mint.GrantedClaims(info.User, info.GrantedClaims, requested))
	maps.Copy(claims, mint.RegisteredClaims(info.User, info.Client))
	claims["sub"] = info.Subject
	return claims
}
