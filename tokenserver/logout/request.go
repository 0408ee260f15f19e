package logout

import (
	"context"
	"net/http"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
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
	// stays is why the client does not get the redirectURI that it asked for.
	stays reason
}

// reason why the user does not go on. Its numbers are in sealed forms.
type reason int

const (
	goesOn       reason = iota // or was to go nowhere
	unregistered               // the client has not registered the address
	badHint                    // the client is not known, for the ID token is no good
	unknown                    // the client is not served
	unnamed                    // nothing says which client it is
)

// sentences for the user; none for goesOn.
var sentences = map[reason]string{
	unregistered: pages.NoRedirectUnregistered, badHint: pages.NoRedirectHint, unknown: pages.NoRedirectUnknown, unnamed: pages.NoRedirectUnnamed,
}

// read the parameters (RP-Initiated Logout section 2). It also knows logout_hint and ui_locales, and
// ignores them: the session is the browser's, and the page has one language. What does not verify counts
// as not sent, and what rests on it is not done (section 4); the user can still sign out. But where an ID
// token says one client and client_id another, it is not known which of them asks (section 2).
func (h *Handler) read(ctx context.Context, server documents.Server, params oauth.Params) (request, error) {
	var req request
	nameless := unnamed
	if hint := params.Get("id_token_hint"); hint != "" {
		client, subject, problem := h.openHint(server, hint)
		switch {
		case problem != goesOn:
			web.NoteError(ctx, oauth.InvalidRequest)
			nameless = problem
		case params.Has("client_id") && params.Get("client_id") != client.ID:
			return request{}, &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageBadRequest}
		default:
			req.client, req.subject = client, subject
		}
	} else if client, ok := h.Registry.Client(params.Get("client_id")); ok {
		req.client = client
	} else if params.Has("client_id") {
		nameless = unknown
	}
	if req.client != nil {
		web.NoteClient(ctx, req.client.ID)
	}
	h.redirectTo(ctx, &req, params.Get("post_logout_redirect_uri"), params.Get("state"), nameless)
	return req, nil
}

// openHint reads an ID token that this server signed for one of its clients, with a key that is still
// published. It may have expired long ago (RP-Initiated Logout section 2).
func (h *Handler) openHint(server documents.Server, hint string) (*registry.Client, string, reason) {
	var claims struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
	}
	if h.Keys.Verify(hint, oauth.TypeIDToken, &claims) != nil || claims.Issuer != server.Issuer || claims.Subject == "" || claims.Audience == "" {
		return nil, "", badHint
	}
	client, ok := h.Registry.Client(claims.Audience)
	if !ok {
		return nil, "", unknown
	}
	return client, claims.Subject, goesOn
}

// redirectTo sets where the user goes: only where the client is known and has registered exactly this
// (RP-Initiated Logout section 3). Nameless is why the client is not known, if it is not.
func (h *Handler) redirectTo(ctx context.Context, req *request, uri, state string, nameless reason) {
	switch {
	case uri == "":
		return
	case req.client == nil:
		req.stays = nameless
	case slices.Contains(req.client.PostLogoutRedirectURIs, uri):
		req.redirectURI, req.state = uri, state
		return
	default:
		req.stays = unregistered
	}
	web.NoteError(ctx, oauth.InvalidRequest)
}
