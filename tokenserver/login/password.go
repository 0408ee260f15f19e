package login

import (
	"errors"
	"math"
	"net/http"
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

// formWay returns the way whose passwords the form takes: the one that the user has chosen, or the only
// one that there is. False if that has no form.
func (v visit) formWay() (interaction.Way, bool) {
	way, ok := v.ways.ByUID(v.flow.Way)
	if !ok && len(v.ways) == 1 && v.flow.Way == "" {
		way, ok = v.ways[0], true
	}
	return way, ok && !way.Departs()
}

// handleForm handles the form.
func (h *Handler) handleForm(v visit, params oauth.Params) error {
	way, ok := v.formWay()
	switch {
	case !ok:
		return h.showChooser(v) // the server has other ways by now
	case way.Provider != nil:
		return h.handleDirectoryForm(v, way.Provider, params)
	}
	ctx, form := v.r.Context(), pages.Login{Username: params.Get("username")}
	user, err := h.authenticate(v.r, v.flow.Server, form.Username, params.Get("password"))
	var refused *throttle.RefusedError
	switch {
	case errors.As(err, &refused):
		web.NoteError(ctx, oauth.TemporarilyUnavailable)
		v.w.Header().Set("Retry-After", refused.RetryAfter())
		form.RetryAfter = refused.Wait
		return h.showForm(v, http.StatusTooManyRequests, form)
	case errors.Is(err, password.ErrBusy):
		return &web.PageError{
			Status: http.StatusServiceUnavailable, Code: oauth.TemporarilyUnavailable, Message: pages.MessageBusy, RetryAfter: web.RetryAfter(),
		}
	case errors.Is(err, password.ErrMemory):
		return &web.PageError{Status: http.StatusInternalServerError, Code: oauth.ServerError, Message: pages.MessageMemory, Cause: err}
	case err != nil:
		return err
	case user == nil:
		web.NoteError(ctx, oauth.AccessDenied)
		form.Failed = true
		return h.showForm(v, http.StatusOK, form)
	}
	return h.beginSession(v, form, user)
}

// beginSession begins a session of a user whose password was right, and continues the flow.
func (h *Handler) beginSession(v visit, form pages.Login, user *registry.User) error {
	if err := h.Registry.CheckNotBefore("", user.UID, user.ProviderUID); err != nil {
		return err
	}
	begun, err := h.Sessions.Begin(v.r.Context(), v.w, v.r, v.flow.Server, session.Login{
		User: user, AMR: []string{oauth.AMRPassword}, AuthTime: h.Sessions.Now(),
	})
	var tooMany *session.TooManyLoginsError
	switch {
	case errors.As(err, &tooMany):
		web.NoteError(v.r.Context(), oauth.TemporarilyUnavailable)
		v.w.Header().Set("Retry-After", strconv.Itoa(retryAfter(tooMany)))
		form.TooManyLogins, form.RetryAfter = true, tooMany.Wait
		return h.showForm(v, http.StatusTooManyRequests, form)
	case err != nil:
		return err
	}
	if err := h.Devices.RememberUser(v.w, v.r, v.flow.Server.Issuer, user.UID, user.Epoch); err != nil {
		return err
	}
	v.flow.LoginSession = begun.Hash()
	return h.Flows.RedirectTo(v.w, v.r, v.flow, interaction.StepResume)
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
	return wholeSeconds(err.Wait)
}

func wholeSeconds(wait time.Duration) int { return int(math.Ceil(wait.Seconds())) }

// showForm shows the form. After a failed login it shows one message, whether the username or the
// password was wrong.
func (h *Handler) showForm(v visit, status int, form pages.Login) error {
	var err error
	if form.Action, err = v.url(); err != nil {
		return err
	}
	if len(v.ways) > 1 {
		if form.OtherWays, err = h.chooserURL(v); err != nil {
			return err
		}
	}
	if p := v.provider(); p != nil {
		form.Provider = p.DisplayName
	}
	form.Flow, form.Client, form.Server = v.sealed, v.client(), pages.Host(v.flow.Server.Issuer)
	return web.Page(v.w, status, form, v.flow.RedirectURI)
}
