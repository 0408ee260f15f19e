// Package login is the login page of a flow: it asks for username and password, begins a session and leads back to the authorization
// endpoint. It has no way in but a flow that is for it, in the browser of that flow.
package login

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Handler of the login page, GET and POST, for web.Edge.ForBrowser. All fields are needed.
type Handler struct {
	Registry  *registry.Registry
	Flows     *interaction.Flows
	Sessions  *session.Sessions
	Passwords *password.Verifier
}

// Handle one request.
func (h *Handler) Handle(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodPost {
		return h.post(w, r)
	}
	params, err := oauth.ParseForm(r, false)
	if err != nil {
		return err
	}
	sealed := params.Get(interaction.ParamFlow)
	visit, err := h.Flows.Open(r, sealed, interaction.StepLogin)
	if err != nil {
		return err
	}
	web.NoteClient(r.Context(), visit.Client.ID)
	return show(w, visit, sealed, visit.Flow.LoginHint, false)
}

func (h *Handler) post(w http.ResponseWriter, r *http.Request) error {
	if err := interaction.SameOrigin(r); err != nil {
		return err
	}
	params, err := oauth.ParseForm(r, true)
	if err != nil {
		return err
	}
	sealed := params.Get(interaction.ParamFlow)
	visit, err := h.Flows.Open(r, sealed, interaction.StepLogin)
	if err != nil {
		return err
	}
	web.NoteClient(r.Context(), visit.Client.ID)
	user, err := h.authenticate(r.Context(), params.Get("username"), params.Get("password"))
	switch {
	case errors.Is(err, password.ErrBusy):
		return &web.PageError{
			Status: http.StatusServiceUnavailable, Code: oauth.TemporarilyUnavailable, Sentence: pages.SentenceBusy, RetryAfter: 2,
		}
	case err != nil:
		return err
	case user == nil:
		web.NoteError(r.Context(), oauth.AccessDenied)
		return show(w, visit, sealed, params.Get("username"), true)
	}
	begun, err := h.Sessions.Begin(w, visit.Server, user, oauth.AMRPassword)
	if err != nil {
		return err
	}
	visit.Flow.LoginSession = begun.Hash()
	return h.Flows.Go(w, r, visit, interaction.StepResume)
}

// authenticate gives the user whose password this is, or nil. An unknown user costs the same work as a known one, and is the same to whoever
// asks.
func (h *Handler) authenticate(ctx context.Context, username, secret string) (*registry.User, error) {
	if secret == "" || len(secret) > password.MaxLength {
		return nil, nil
	}
	var known *registry.User
	hash := ""
	if name, err := password.NormalizeUsername(username); err == nil {
		if user, ok := h.Registry.UserByName(name); ok {
			known, hash = user, user.PasswordHash
		}
	}
	ok, err := h.Passwords.Verify(ctx, hash, secret)
	if err != nil || !ok || known == nil {
		return nil, err
	}
	return known, nil
}

// show the form. A failed login shows it again, with one sentence for whatever was wrong.
func show(w http.ResponseWriter, v *interaction.Visit, sealed, username string, failed bool) error {
	action, err := url.JoinPath(v.Server.Issuer, interaction.PathLogin)
	if err != nil {
		return err
	}
	return web.Page(w, http.StatusOK, pages.Login{
		Action: action, Flow: sealed, Server: v.ServerHost(), Username: username, Failed: failed,
		Client: pages.Client{DisplayName: v.Client.DisplayName, ID: v.Client.ID},
	}, v.RedirectURI)
}
