package logout

import (
	"context"
	"net/http"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/registration"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// request to log out.
type request struct {
	// client that sent the user here; nil if that is not known.
	client *registry.Client
	// subject of the ID token that came along; empty without a good one.
	subject string
	// redirectURI is where the user goes afterwards, one that the client has registered, and state what goes with it; empty: nowhere.
	redirectURI, state string
	// stays says that the client asked for a redirectURI that it does not get.
	stays bool
}

// parameters that the endpoint reads (RP-Initiated Logout section 2). It also knows logout_hint and ui_locales, and ignores them: the session
// is the browser's, and the page has one language.
var parameters = []string{"id_token_hint", "client_id", "post_logout_redirect_uri", "state"}

// known parameters only: others are ignored.
func known(params oauth.Params) oauth.Params {
	kept := oauth.Params{}
	for _, name := range parameters {
		if params.Has(name) {
			kept[name] = params.All(name)
		}
	}
	return kept
}

// read the parameters. What does not verify counts as not sent, and what rests on it is not done (RP-Initiated Logout section 4); the user can
// still sign out. But where an ID token says one client and client_id another, nobody can tell who is asking (section 2).
func (h *Handler) read(ctx context.Context, server registration.Server, params oauth.Params) (request, error) {
	var req request
	if hint := params.Get("id_token_hint"); hint != "" {
		client, subject, ok := h.openHint(server, hint)
		switch {
		case !ok:
			web.NoteError(ctx, oauth.InvalidRequest)
		case params.Has("client_id") && params.Get("client_id") != client.ID:
			return request{}, &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Sentence: pages.SentenceBadRequest}
		default:
			req.client, req.subject = client, subject
		}
	} else if client, ok := h.Registry.Client(params.Get("client_id")); ok {
		req.client = client
	}
	if req.client != nil {
		web.NoteClient(ctx, req.client.ID)
	}
	h.redirectTo(ctx, &req, params.Get("post_logout_redirect_uri"), params.Get("state"))
	return req, nil
}

// openHint reads an ID token that this server signed for one of its clients, with a key that is still published. It may have expired long ago
// (RP-Initiated Logout section 2).
func (h *Handler) openHint(server registration.Server, hint string) (*registry.Client, string, bool) {
	var claims struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
	}
	if h.Keys.Verify(hint, oauth.TypeIDToken, &claims) != nil || claims.Issuer != server.Issuer || claims.Subject == "" {
		return nil, "", false
	}
	client, ok := h.Registry.Client(claims.Audience)
	return client, claims.Subject, ok
}

// redirectTo sets where the user goes: only where the client is known and has registered exactly this (RP-Initiated Logout section 3).
func (h *Handler) redirectTo(ctx context.Context, req *request, uri, state string) {
	switch {
	case uri == "":
	case req.client != nil && slices.Contains(req.client.PostLogoutRedirectURIs, uri):
		req.redirectURI, req.state = uri, state
	default:
		req.stays = true
		web.NoteError(ctx, oauth.InvalidRequest)
	}
}
