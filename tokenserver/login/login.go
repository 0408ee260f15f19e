// Package login is the login page. It verifies a username and a password, begins a session, and
// redirects back to the authorization endpoint. It opens only flows that are for it, in the browser
// that they belong to.
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

// Handler is the login page, GET and POST, for web.Adapter.ForBrowser. All fields are required.
type Handler struct {
	Registry  *registry.Registry
	Flows     *interaction.Flows
	Sessions  *session.Sessions
	Passwords *password.Verifier
	Throttle  *throttle.Throttle
	Devices   *throttle.Devices
}

// Handle handles one request.
func (h *Handler) Handle(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodPost {
		return h.handlePost(w, r)
	}
	params, err := oauth.ParseForm(r, false)
	if err != nil {
		return err
	}
	sealed := params.Get(interaction.ParamFlow)
	flow, err := h.Flows.Open(r, sealed, interaction.StepLogin)
	if err != nil {
		return err
	}
	web.NoteClient(r.Context(), flow.Client.ID)
	return show(w, http.StatusOK, flow, pages.Login{Flow: sealed, Username: flow.LoginHint})
}

// handlePost handles the form.
func (h *Handler) handlePost(w http.ResponseWriter, r *http.Request) error {
	if err := interaction.CheckSameOrigin(r); err != nil {
		return err
	}
	params, err := oauth.ParseForm(r, true)
	if err != nil {
		return err
	}
	sealed := params.Get(interaction.ParamFlow)
	flow, err := h.Flows.Open(r, sealed, interaction.StepLogin)
	if err != nil {
		return err
	}
	web.NoteClient(r.Context(), flow.Client.ID)
	form := pages.Login{Flow: sealed, Username: params.Get("username")}
	user, err := h.authenticate(r, flow.Server, form.Username, params.Get("password"))
	var refused *throttle.RefusedError
	switch {
	case errors.As(err, &refused):
		web.NoteError(r.Context(), oauth.TemporarilyUnavailable)
		w.Header().Set("Retry-After", refused.RetryAfter())
		form.RetryAfter = refused.Wait
		return show(w, http.StatusTooManyRequests, flow, form)
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
		return show(w, http.StatusOK, flow, form)
	}
	return h.beginSession(w, r, flow, form, user)
}

// beginSession begins a session of a user whose password was right, and continues the flow.
func (h *Handler) beginSession(
	w http.ResponseWriter, r *http.Request, flow *interaction.ResolvedFlow, form pages.Login, user *registry.User,
) error {
	if err := h.Registry.CheckNotBefore("", user.UID, user.ProviderUID); err != nil {
		return err
	}
	begun, err := h.Sessions.Begin(r.Context(), w, r, flow.Server, session.Login{User: user, AMR: []string{oauth.AMRPassword}})
	var tooMany *session.TooManyLoginsError
	switch {
	case errors.As(err, &tooMany):
		web.NoteError(r.Context(), oauth.TemporarilyUnavailable)
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter(tooMany)))
		form.TooManyLogins, form.RetryAfter = true, tooMany.Wait
		return show(w, http.StatusTooManyRequests, flow, form)
	case err != nil:
		return err
	}
	if err := h.Devices.RememberUser(w, r, flow.Server.Issuer, user.UID, user.Epoch); err != nil {
		return err
	}
	flow.LoginSession = begun.Hash()
	return h.Flows.RedirectTo(w, r, flow, interaction.StepResume)
}

// authenticate returns the user whose username and password these are, or nil. An unknown username
// takes the same work as a wrong password. The error is a *throttle.RefusedError if it is too early
// to try.
func (h *Handler) authenticate(r *http.Request, server documents.Server, username, secret string) (*registry.User, error) {
	if secret == "" || len(secret) > password.MaxLength {
		return nil, nil
	}
	name, user, hash := h.Registry.LookUpLogin(username)
	deviceID := ""
	if user != nil {
		deviceID = h.Devices.KnownID(r, server.Issuer, user.UID, user.Epoch, h.Registry.NotBeforeOf("", user.UID, user.ProviderUID))
	}
	source := web.Source(r, server.TrustedProxies)
	isRight, err := h.Throttle.NewLoginAttempt(name, source.String(), deviceID).Verify(r.Context(), h.Passwords, hash, secret)
	if err != nil || !isRight || user == nil {
		web.NoteSource(r.Context(), source)
		return nil, err
	}
	return user, nil
}

// retryAfter returns how many seconds to wait after too many logins. If that is not known, an hour
// is as good as any.
func retryAfter(err *session.TooManyLoginsError) int {
	if err.Wait == 0 {
		return int(time.Hour / time.Second)
	}
	return int(math.Ceil(err.Wait.Seconds()))
}

// show shows the form. After a failed login it shows one message, whether the username or the
// password was wrong.
func show(w http.ResponseWriter, status int, flow *interaction.ResolvedFlow, form pages.Login) error {
	action, err := url.JoinPath(flow.Server.Issuer, interaction.PathLogin)
	if err != nil {
		return err
	}
	form.Action, form.Server = action, pages.Host(flow.Server.Issuer)
	form.Client = pages.Client{DisplayName: flow.Client.DisplayName, ID: flow.Client.ID}
	return web.Page(w, status, form, flow.RedirectURI)
}
