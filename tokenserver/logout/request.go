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

// request is a logout request.
type request struct {
	// client is the one that sent the user here; nil if it is not known.
	client *registry.Client
	// subject is that of the ID token in the request; empty if it has no valid one. issuedAt is when
	// that was issued, in Unix seconds.
	subject  string
	issuedAt int64
	// redirectURI is where the browser goes after the logout, one that the client has registered,
	// and state is its parameter; empty means that the browser stays on this server.
	redirectURI, state string
	// noRedirect is why redirectURI is empty although the request asked for one.
	noRedirect noRedirectReason
}

// noRedirectReason is why the browser stays on this server. Its numbers are in sealed requests.
type noRedirectReason int

const (
	noReason        noRedirectReason = iota // it does not stay, or the request asked for no redirect
	uriUnregistered                         // the client has not registered the URI
	hintInvalid                             // the client is not known, since the ID token is not valid
	clientUnknown                           // the client is not served
	clientMissing                           // the request does not say which client sent it
)

// noRedirectMessages are what the page says; nothing for noReason.
var noRedirectMessages = map[noRedirectReason]string{
	uriUnregistered: pages.NoRedirectUnregistered, hintInvalid: pages.NoRedirectHint,
	clientUnknown: pages.NoRedirectUnknown, clientMissing: pages.NoRedirectUnnamed,
}

// readRequest reads the parameters (RP-Initiated Logout section 2). It ignores logout_hint and
// ui_locales: the session is the browser's, and the page has one language. An invalid ID token is
// treated as if it were not sent (section 4), so the user can still sign out. But it is an error if
// an ID token and client_id name different clients (section 2).
func (h *Handler) readRequest(ctx context.Context, server documents.Server, params oauth.Params) (request, error) {
	var req request
	noClient := clientMissing
	if hint := params.Get("id_token_hint"); hint != "" {
		client, subject, issuedAt, problem := h.verifyHint(server, hint)
		switch {
		case problem != noReason:
			web.NoteError(ctx, oauth.InvalidRequest)
			noClient = problem
		case params.Has("client_id") && params.Get("client_id") != client.ID:
			return request{}, &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageBadRequest}
		default:
			req.client, req.subject, req.issuedAt = client, subject, issuedAt
		}
	} else if client, ok := h.Registry.Client(params.Get("client_id")); ok {
		req.client = client
	} else if params.Has("client_id") {
		noClient = clientUnknown
	}
	if req.client != nil {
		web.NoteClient(ctx, req.client.ID)
	}
	h.setRedirect(ctx, &req, params.Get("post_logout_redirect_uri"), params.Get("state"), noClient)
	return req, nil
}

// verifyHint verifies an ID token, and returns its client and subject, and when it was issued. This
// server must have signed it with a key that is still published; it may have expired long ago
// (RP-Initiated Logout section 2).
func (h *Handler) verifyHint(server documents.Server, hint string) (_ *registry.Client, subject string, issuedAt int64, _ noRedirectReason) {
	var claims struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		IssuedAt int64  `json:"iat"`
	}
	if h.Keys.Verify(hint, oauth.TypeIDToken, &claims) != nil ||
		claims.Issuer != server.Issuer || claims.Subject == "" || claims.Audience == "" {
		return nil, "", 0, hintInvalid
	}
	client, ok := h.Registry.Client(claims.Audience)
	if !ok {
		return nil, "", 0, clientUnknown
	}
	return client, claims.Subject, claims.IssuedAt, noReason
}

// setRedirect sets where the browser goes after the logout: to the URI, if the client is known and
// has registered exactly this URI (RP-Initiated Logout section 3). noClient is why the client is
// not known.
func (h *Handler) setRedirect(ctx context.Context, req *request, uri, state string, noClient noRedirectReason) {
	switch {
	case uri == "":
		return
	case req.client == nil:
		req.noRedirect = noClient
	case slices.Contains(req.client.PostLogoutRedirectURIs, uri):
		req.redirectURI, req.state = uri, state
		return
	default:
		req.noRedirect = uriUnregistered
	}
	web.NoteError(ctx, oauth.InvalidRequest)
}
