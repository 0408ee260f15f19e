// Package revoke is the revocation endpoint (RFC 7009). A refresh token takes its whole grant along, an access token only itself.
package revoke

import (
	"net/http"

	"github.com/oauth-operator/oauth-operator/tokenserver/clientauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Handler of the revocation endpoint. All fields are needed.
type Handler struct {
	Clients *clientauth.Authenticator
	Grants  *grant.Service
}

// retryAfter is how many seconds a client waits before it tries again where no more revoked access
// tokens can be remembered. A place is taken for ten minutes at least.
const retryAfter = "60"

// Handle answers a revocation request. It says 200 only of a token that authorises nothing from now on; if the store cannot be reached, that
// is an error to try again (RFC 7009 section 2.2.1). The token_type_hint is not needed: a token shows what it is.
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
	outcome, err := h.Grants.Revoke(r.Context(), client, form.Get("token"))
	if err != nil {
		return err
	}
	switch outcome {
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
