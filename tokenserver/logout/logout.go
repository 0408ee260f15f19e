// Package logout ends the session of a browser (OpenID Connect RP-Initiated Logout 1.0).
//
//	logout.go   the ways in: a request by GET, one by POST, and the answer to the page that asks
//	request.go  from parameters to a request: who sent the user here, whom they think is signed in, and where the user goes afterwards
//	form.go     the request as the page's form carries it, sealed for one session, or the GET that a POST becomes
//
// Nobody is signed out by a page of another site alone. Either the request has an ID token of the
// very user who is signed in, which only an application has that this user signed in to; or the
// user is asked, and the form that says yes is good for one session only.
//
// Ending a session is one write, and a request without a session writes nothing. A page says
// "signed out" only of a session that has ended.
package logout

import (
	"net/http"
	"net/url"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/redirecturi"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Handler of the logout endpoint, GET and POST, for web.Adapter.ForBrowser. All fields are needed.
type Handler struct {
	Registry *registry.Registry
	Keys     *keys.Set
	Sessions *session.Sessions
	Now      func() time.Time
}

// Handle one request.
func (h *Handler) Handle(w http.ResponseWriter, r *http.Request) error {
	server, ok := h.Registry.Server()
	if !ok {
		return interaction.Unavailable()
	}
	params, err := oauth.ParseForm(r, r.Method == http.MethodPost)
	if err != nil {
		return err
	}
	switch {
	case r.Method == http.MethodPost && params.Has(paramForm):
		return h.confirm(w, r, server, params.Get(paramForm))
	case r.Method == http.MethodPost:
		return h.post(w, r, server, params)
	}
	var req request
	if params.Has(interaction.ParamPosted) {
		req, _, err = h.open(r.Context(), params.Get(interaction.ParamPosted))
	} else {
		req, err = h.read(r.Context(), server, params)
	}
	if err != nil {
		return err
	}
	return h.begin(w, r, server, req)
}

// post turns a POSTed request into a GET of the same: it comes from the application's site, and so
// without our cookies. It sets none either.
func (h *Handler) post(w http.ResponseWriter, r *http.Request, server documents.Server, params oauth.Params) error {
	req, err := h.read(r.Context(), server, params)
	if err != nil {
		return err
	}
	sealed, err := h.sealPosted(req)
	if err != nil {
		return err
	}
	return web.Redirect(w, server.Issuer+oauth.PathLogout+"?"+interaction.ParamPosted+"="+url.QueryEscape(sealed))
}

// begin is a request: the session ends, or the user is asked.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request, server documents.Server, req request) error {
	current, user, err := h.Sessions.Endable(r.Context(), r, server)
	switch {
	case err != nil:
		return err
	case current == nil:
		return notSignedIn(w, r, server, req)
	case r.Method == http.MethodGet && user != nil && req.subject != "" && req.subject == user.Subject:
		return h.end(w, r, server, req, current)
	}
	return h.ask(w, server, req, current, user)
}

// confirm is the user's yes. It counts for the session that was shown; where another is signed in
// by now, that one is asked.
func (h *Handler) confirm(w http.ResponseWriter, r *http.Request, server documents.Server, sealed string) error {
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
		return notSignedIn(w, r, server, req)
	case current.RootHash() != shown:
		return h.ask(w, server, req, current, user)
	}
	return h.end(w, r, server, req, current)
}

func (h *Handler) end(w http.ResponseWriter, r *http.Request, server documents.Server, req request, current *session.Session) error {
	if err := h.Sessions.End(r.Context(), w, server, current); err != nil {
		return err
	}
	return done(w, server, req, true)
}

// ask the user, who is nil while they are not served. They have a session all the same, and may be
// served again: what is not ended now would then be good again.
func (h *Handler) ask(w http.ResponseWriter, server documents.Server, req request, current *session.Session, user *registry.User) error {
	sealed, err := h.sealForm(req, current.RootHash())
	if err != nil {
		return err
	}
	page := pages.Logout{
		Action: server.Issuer + oauth.PathLogout, Request: sealed, Server: pages.Host(server.Issuer),
	}
	if req.redirectURI != "" {
		page.Host = (&interaction.ResolvedFlow{RedirectURI: req.redirectURI}).RedirectHost()
	}
	if user != nil {
		page.Username = user.Username
		page.Name, _ = user.Claims["name"].(string)
	}
	return web.Page(w, http.StatusOK, page, req.redirectURI)
}

// notSignedIn answers a request that came with no session. A browser sends the session's cookie
// with what it opens in a window. It does not (SameSite=Lax) with what a page of another site
// embeds or fetches, and then it is not known whether the user is signed in: that must not look
// like a logout.
func notSignedIn(w http.ResponseWriter, r *http.Request, server documents.Server, req request) error {
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "", "document":
		return done(w, server, req, false)
	}
	return &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageLogoutHidden}
}

// done sends the user on, or says what happened: whether a session has ended.
func done(w http.ResponseWriter, server documents.Server, req request, ended bool) error {
	if req.redirectURI == "" {
		return web.Page(w, http.StatusOK, pages.SignedOut{Server: pages.Host(server.Issuer), Ended: ended, NoRedirect: sentences[req.stays]}, "")
	}
	parameters := url.Values{}
	if req.state != "" {
		parameters.Set("state", req.state)
	}
	return web.Redirect(w, redirecturi.AppendQuery(req.redirectURI, parameters))
}
