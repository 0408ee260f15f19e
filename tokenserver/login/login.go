// Package login is the login page of a flow: it asks for username and password, begins a session and leads back to the authorization
// endpoint. It has no way in but a flow that is for it, in the browser of that flow.
package login

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Handler of the login page, GET and POST, for web.Adapter.ForBrowser. All fields are needed.
type Handler struct {
	Registry  *registry.Registry
	Flows     *interaction.Flows
	Sessions  *session.Sessions
	Passwords *password.Verifier
	Throttle  *throttle.Throttle
	Devices   *throttle.Devices
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
	return show(w, http.StatusOK, visit, pages.Login{Flow: sealed, Username: visit.Flow.LoginHint})
}

func (h *Handler) post(w http.ResponseWriter, r *http.Request) error {
	if err := interaction.CheckSameOrigin(r); err != nil {
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
	form := pages.Login{Flow: sealed, Username: params.Get("username")}
	user, err := h.authenticate(r, visit.Server, form.Username, params.Get("password"))
	var refused *throttle.RefusedError
	switch {
	case errors.As(err, &refused):
		web.NoteError(r.Context(), oauth.TemporarilyUnavailable)
		w.Header().Set("Retry-After", refused.RetryAfter())
		form.RetryAfter = refused.Wait
		return show(w, http.StatusTooManyRequests, visit, form)
	case errors.Is(err, password.ErrBusy):
		return &web.PageError{
			Status: http.StatusServiceUnavailable, Code: oauth.TemporarilyUnavailable, Message: pages.MessageBusy, RetryAfter: 2,
		}
	case errors.Is(err, password.ErrMemory):
		return &web.PageError{Status: http.StatusInternalServerError, Code: oauth.ServerError, Message: pages.MessageMemory, Cause: err}
	case err != nil:
		return err
	case user == nil:
		web.NoteError(r.Context(), oauth.AccessDenied)
		form.Failed = true
		return show(w, http.StatusOK, visit, form)
	}
	return h.begin(w, r, visit, form, user)
}

// begin the session of a user whose password was right, and go on with the flow.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request, visit *interaction.ResolvedFlow, form pages.Login, user *registry.User) error {
	begun, err := h.Sessions.Begin(r.Context(), w, r, visit.Server, user, oauth.AMRPassword)
	var often *session.TooManyLoginsError
	switch {
	case errors.As(err, &often):
		web.NoteError(r.Context(), oauth.TemporarilyUnavailable)
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter(often)))
		form.TooManyLogins, form.RetryAfter = true, often.Wait
		return show(w, http.StatusTooManyRequests, visit, form)
	case err != nil:
		return err
	}
	if err := h.Devices.RememberUser(w, r, visit.Server.Issuer, user.UID, user.Epoch); err != nil {
		return err
	}
	visit.Flow.LoginSession = begun.Hash()
	return h.Flows.RedirectTo(w, r, visit, interaction.StepResume)
}

// authenticate gives the user whose password this is, or nil; a *throttle.Refused if it is too early to try. An unknown user costs the same
// work as a known one, and is the same to whoever asks.
func (h *Handler) authenticate(r *http.Request, server documents.Server, username, secret string) (*registry.User, error) {
	if secret == "" || len(secret) > password.MaxLength {
		return nil, nil
	}
	name, user, hash := h.Registry.LookUpLogin(username)
	device := ""
	if user != nil {
		device = h.Devices.KnownID(r, server.Issuer, user.UID, user.Epoch)
	}
	source := web.Source(r, server.TrustedProxies)
	right, err := h.Throttle.NewLoginAttempt(name, source.String(), device).Verify(r.Context(), h.Passwords, hash, secret)
	if err != nil || !right || user == nil {
		web.NoteSource(r.Context(), source)
		return nil, err
	}
	return user, nil
}

// retryAfter is how many seconds to wait after too many logins. Where that is not known, an hour makes
// no difference.
func retryAfter(often *session.TooManyLoginsError) int {
	if often.Wait == 0 {
		return int(time.Hour / time.Second)
	}
	return int(math.Ceil(often.Wait.Seconds()))
}

// show the form. A failed login shows it again, with one sentence for whatever was wrong.
func show(w http.ResponseWriter, status int, v *interaction.ResolvedFlow, form pages.Login) error {
	action, err := url.JoinPath(v.Server.Issuer, interaction.PathLogin)
	if err != nil {
		return err
	}
	form.Action, form.Server = action, v.ServerHost()
	form.Client = pages.Client{DisplayName: v.Client.DisplayName, ID: v.Client.ID}
	return web.Page(w, status, form, v.RedirectURI)
}
