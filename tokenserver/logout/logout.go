// Package logout is the logout endpoint, which ends the session of a browser (OpenID Connect
// RP-Initiated Logout 1.0).
//
//	logout.go   Handler: requests by GET and by POST, the page that asks the user, and its form
//	request.go  reads the parameters: which client sent the user, and where the browser goes next
//	seal.go     a request in the form of the page, or on its way from a POST to a GET
//
// No other site can sign a user out by itself. Either the request has an ID token of the user who
// is signed in, which only an application has that this user signed in to. Or the page asks the
// user, and its form is valid for one session only.
//
// Ending a session is one write, and a request without a session writes nothing. The page says
// "signed out" only if a session has ended.
package logout

import (
	"net/http"
	"net/url"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/redirecturi"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Handler is the logout endpoint, GET and POST, for web.Adapter.ForBrowser. All fields are
// required.
type Handler struct {
	Registry  *registry.Registry
	Keys      *keys.Set
	Sessions  *session.Sessions
	Providers *oidc.Providers
	Now       func() time.Time
}

// Handle handles one request.
func (h *Handler) Handle(w http.ResponseWriter, r *http.Request) error {
	server, ok := h.Registry.Server()
	if !ok {
		return web.NotReady()
	}
	params, err := oauth.ParseForm(r, r.Method == http.MethodPost)
	if err != nil {
		return err
	}
	switch {
	case r.Method == http.MethodPost && params.Has(paramForm):
		return h.handleForm(w, r, server, params.Get(paramForm))
	case r.Method == http.MethodPost:
		return h.redirectToGet(w, r, server, params)
	}
	var req request
	if params.Has(interaction.ParamPosted) {
		req, _, err = h.open(r.Context(), params.Get(interaction.ParamPosted))
	} else {
		req, err = h.readRequest(r.Context(), server, params)
	}
	if err != nil {
		return err
	}
	return h.handleRequest(w, r, server, req)
}

// redirectToGet redirects a request by POST to a GET of the same request. A browser sends a POST
// from the application's site without our cookies. The response sets no cookies either.
func (h *Handler) redirectToGet(w http.ResponseWriter, r *http.Request, server documents.Server, params oauth.Params) error {
	req, err := h.readRequest(r.Context(), server, params)
	if err != nil {
		return err
	}
	sealed, err := h.sealPosted(req)
	if err != nil {
		return err
	}
	return web.Redirect(w, server.Issuer+oauth.PathLogout+"?"+interaction.ParamPosted+"="+url.QueryEscape(sealed))
}

// handleRequest ends the session, or asks the user.
func (h *Handler) handleRequest(w http.ResponseWriter, r *http.Request, server documents.Server, req request) error {
	current, user, err := h.Sessions.Endable(r.Context(), r, server)
	switch {
	case err != nil:
		return err
	case current == nil:
		return respondWithoutSession(w, r, server, req)
	case r.Method == http.MethodGet && user != nil && h.isAbout(req, user):
		return h.endSession(w, r, server, req, current)
	}
	return h.askUser(w, server, req, current, user)
}

// isAbout reports whether the request has an ID token of the user. One that tokensNotBefore voids
// may be in other hands: it does not sign the user out.
func (h *Handler) isAbout(req request, user *registry.User) bool {
	if req.subject == "" || req.subject != user.Subject {
		return false
	}
	clientUID := ""
	if req.client != nil {
		clientUID = req.client.UID
	}
	return !h.Registry.NotBeforeOf(clientUID, user.UID, user.ProviderUID).VoidsToken(time.Unix(req.issuedAt, 0))
}

// handleForm ends the session that the page has shown. If there is another session by now, it asks
// the user about that one.
func (h *Handler) handleForm(w http.ResponseWriter, r *http.Request, server documents.Server, sealed string) error {
	if err := interaction.CheckSameOrigin(r); err != nil {
		return err
	}
	req, shown, err := h.open(r.Context(), sealed)
	if err != nil {
		return err
	}
	current, user, err := h.Sessions.Endable(r.Context(), r, server)
	switch {
	case err != nil:
		return err
	case current == nil:
		return respondWithoutSession(w, r, server, req)
	case current.RootHash() != shown:
		return h.askUser(w, server, req, current, user)
	}
	return h.endSession(w, r, server, req, current)
}

func (h *Handler) endSession(w http.ResponseWriter, r *http.Request, server documents.Server, req request, current *session.Session) error {
	if err := h.Sessions.End(r.Context(), w, server, current); err != nil {
		return err
	}
	if len(h.Registry.IdentityProviders()) > 0 {
		interaction.NoteSignedOut(w, server.Issuer)
	}
	page := pages.SignedOut{Ended: true}
	if p, ok := h.Registry.IdentityProviderByUID(current.ProviderUID); ok && p.Type == documents.ProviderOIDC {
		page.Provider, page.ProviderURL = p.DisplayName, h.Providers.EndSessionEndpoint(p.IdentityProvider)
	}
	return respond(w, server, req, page)
}

// askUser shows the page. The user is nil while it is not served. Its session is worth ending all
// the same: it would be valid again if the user is served again.
func (h *Handler) askUser(w http.ResponseWriter, server documents.Server, req request, current *session.Session, user *registry.User) error {
	sealed, err := h.sealForm(req, current.RootHash())
	if err != nil {
		return err
	}
	page := pages.Logout{
		Action: server.Issuer + oauth.PathLogout, Request: sealed, Server: pages.Host(server.Issuer), Host: pages.Host(req.redirectURI),
	}
	if user != nil {
		page.Username = user.Username
		page.Name, _ = user.Claims["name"].(string)
	}
	return web.Page(w, http.StatusOK, page, req.redirectURI)
}

// respondWithoutSession answers a request without a session. A browser sends the cookie of the
// session with what it opens in a window. It does not (SameSite=Lax) with what a page of another
// site embeds or fetches. Whether the user is signed in is then not known, so it must not look like
// a logout.
func respondWithoutSession(w http.ResponseWriter, r *http.Request, server documents.Server, req request) error {
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "", "document":
		return respond(w, server, req, pages.SignedOut{})
	}
	return &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageLogoutHidden}
}

// respond redirects to the application, or shows a page that says whether a session has ended.
func respond(w http.ResponseWriter, server documents.Server, req request, page pages.SignedOut) error {
	if req.redirectURI == "" {
		page.Server, page.NoRedirect = pages.Host(server.Issuer), noRedirectMessages[req.noRedirect]
		return web.Page(w, http.StatusOK, page, "")
	}
	parameters := url.Values{}
	if req.state != "" {
		parameters.Set("state", req.state)
	}
	return web.Redirect(w, redirecturi.AppendQuery(req.redirectURI, parameters))
}
