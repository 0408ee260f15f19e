package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/oauth-operator/oauth-operator/tokenserver/ldap"
	"github.com/oauth-operator/oauth-operator/tokenserver/notbefore"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/subjects"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// handleDirectoryForm handles the form for a password that a directory verifies.
func (h *Handler) handleDirectoryForm(v visit, p *registry.IdentityProvider, params oauth.Params) error {
	form := pages.Login{Username: params.Get("username")}
	user, err := h.askDirectory(v, p, form.Username, params.Get("password"))
	if err == nil {
		return h.beginSession(v, form, user)
	}
	ctx := v.r.Context()
	web.NoteSource(ctx, web.Source(v.r, v.flow.Server.TrustedProxies))
	var refused *throttle.RefusedError
	var failed *ldap.Error
	var often *users.RateError
	switch {
	case errors.Is(err, ldap.ErrWrong):
		web.NoteError(ctx, oauth.AccessDenied)
		form.Failed = true
		return h.showForm(v, http.StatusOK, form)
	case errors.As(err, &refused):
		v.w.Header().Set("Retry-After", refused.RetryAfter())
		form.RetryAfter = refused.Wait
		web.NoteError(ctx, oauth.TemporarilyUnavailable)
		return h.showForm(v, http.StatusTooManyRequests, form)
	case errors.Is(err, ldap.ErrBusy):
		return &web.PageError{Status: http.StatusServiceUnavailable, Code: oauth.TemporarilyUnavailable, Message: pages.MessageBusy, RetryAfter: web.RetryAfter()}
	case errors.As(err, &failed) && failed.Reason == ldap.Incomplete:
		form.Failure = pages.FailureGroups
	case errors.As(err, &failed):
		form.Failure = pages.FailureAway
	case errors.Is(err, users.ErrFull):
		form.Failure = pages.FailureFull
	case errors.As(err, &often):
		v.w.Header().Set("Retry-After", strconv.Itoa(wholeSeconds(often.Wait)))
		form.Failure = pages.FailureBusy
	default:
		return err
	}
	h.Log.WarnContext(ctx, "a user did not sign in at a directory", "provider", p.Name, "error", err.Error())
	web.NoteError(ctx, oauth.TemporarilyUnavailable)
	form.Failure = fmt.Sprintf(form.Failure, p.DisplayName)
	return h.showForm(v, http.StatusServiceUnavailable, form)
}

// askDirectory returns the user whose username and password these are at a directory.
func (h *Handler) askDirectory(v visit, p *registry.IdentityProvider, username, secret string) (*registry.User, error) {
	directory, err := h.Directories.Of(p.IdentityProvider)
	if err != nil {
		return nil, err
	}
	var user *registry.User
	err = directory.SignIn(v.r.Context(), ldap.Form{
		Username: username, Password: secret, Source: web.Source(v.r, v.flow.Server.TrustedProxies).String(),
		Browser: h.Devices.Browser(v.r, v.flow.Server.Issuer, func(userUID string) notbefore.Limits {
			return h.Registry.NotBeforeOf("", userUID, "")
		}),
		DeviceID: func(subject []byte) string { return h.deviceOf(v, p, subject) },
		Admit: func(ctx context.Context, e ldap.Entry) error {
			var err error
			user, err = h.Users.SignIn(ctx, users.SignIn{Provider: p, Subject: e.Subject, Upstream: e.Upstream, PasswordChanged: e.PasswordChanged})
			if errors.Is(err, users.ErrDenied) {
				h.Log.InfoContext(ctx, "a user may not sign in at a directory", "provider", p.Name, "error", err.Error())
				return ldap.ErrDenied
			}
			return err
		},
	})
	return user, err
}

// deviceOf returns the id of the browser if the user with a subject at a directory has signed in with
// it before; "" also if that is not known.
func (h *Handler) deviceOf(v visit, p *registry.IdentityProvider, subject []byte) string {
	issuer := v.flow.Server.Issuer
	uid, err := subjects.Derive(issuer, p.Type, p.Realm, p.SubjectAttribute, subject)
	if err != nil {
		return ""
	}
	user, ok, err := h.Users.ByUID(v.r.Context(), h.Users.Store, uid, "")
	if err != nil || !ok {
		return ""
	}
	return h.Devices.KnownID(v.r, issuer, uid, user.Epoch, h.Registry.NotBeforeOf("", uid, p.UID))
}

// provider returns the identity provider whose passwords the form takes; nil if it takes those of
// OAuthUsers.
func (v visit) provider() *registry.IdentityProvider {
	way, _ := v.formWay()
	return way.Provider
}
