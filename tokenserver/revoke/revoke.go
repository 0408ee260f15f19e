// Package revoke is the revocation endpoint (RFC 7009). Revoking a refresh token ends its grant
// with all its tokens. Revoking an access token ends only that token.
package revoke

import (
	"net/http"

	"github.com/oauth-operator/oauth-operator/tokenserver/clientauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Handler handles requests to the revocation endpoint. All fields are required.
type Handler struct {
	Clients *clientauth.Authenticator
	Grants  *grant.Service
}

// retryAfter is how many seconds a client waits before it retries if a bound on revoked access
// tokens is reached. It can take ten minutes until one of them no longer counts.
const retryAfter = "60"

// Handle answers a revocation request. The status is 200 only if the token authorizes nothing from
// now on. If the store is unavailable, it is 503 (RFC 7009 section 2.2.1). Handle ignores
// token_type_hint, since each kind of token can be recognized.
func (h *Handler) Handle(w http.ResponseWriter, r *http.Request) error {
	if err := oauth.RefuseInQuery(r, "token", "client_id", "client_secret", "client_assertion"); err != nil {
		return err
	}
	form, err := oauth.ParseForm(r, true)
	if err != nil {
		return err
	}
	client, err := h.Clients.Authenticate(r, form)
	if err != nil {
		return err
	}
	web.NoteClient(r.Context(), client.ID)
	if !form.Has("token") {
		return oauth.Errorf(oauth.InvalidRequest, "token is missing")
	}
	result, err := h.Grants.Revoke(r.Context(), client, form.Get("token"))
	if err != nil {
		return err
	}
	switch result {
	case grant.IssuedToAnother:
		return oauth.Errorf(oauth.UnauthorizedClient, "the token was issued to another client")
	case grant.NotRevocable:
		return oauth.Errorf(oauth.UnsupportedTokenType, "ID tokens cannot be revoked")
	case grant.TooManyRevoked:
		return oauth.Errorf(oauth.TemporarilyUnavailable,
			"too many revoked access tokens are remembered; revoke the refresh token instead, or try again later").
			WithHeader("Retry-After", retryAfter)
	default:
		return web.NoBody(w, http.StatusOK)
	}
}
