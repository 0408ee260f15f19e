package token

import (
	"context"
	"errors"
	"net/http"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// exchangePassword handles the grant type password.
func (h *Handler) exchangePassword(ctx context.Context, client *registry.Client, form oauth.Params) (*response, error) {
	if !form.Has("username") || !form.Has("password") {
		return nil, oauth.Errorf(oauth.InvalidRequest, "username or password is missing")
	}
	requested, err := oauth.ParseScope(form.Get("scope"))
	if err != nil {
		return nil, err
	}
	var unavailable []string
	if !client.HasGrantType(oauth.GrantRefreshToken) {
		unavailable = append(unavailable, oauth.ScopeOfflineAccess)
	}
	scopes, err := client.ResolveScopes(requested, false, unavailable...)
	if err != nil {
		return nil, err
	}
	resources, err := parseResources(form)
	if err != nil {
		return nil, err
	}
	if _, _, err := resolveAudience(client, scopes, resources); err != nil {
		return nil, err
	}
	user, err := h.verifyPassword(ctx, client, form.Get("username"), form.Get("password"))
	if err != nil {
		return nil, err
	}
	result, err := h.Grants.ExchangePassword(ctx, grant.PasswordRequest{Client: client, User: user, Scopes: scopes, Resources: resources})
	if err != nil {
		return nil, err
	}
	return h.issueTokens(client, result, "")
}

// errWrongPassword returns the error for a wrong password, and for an unknown user.
func errWrongPassword() error {
	return oauth.Errorf(oauth.InvalidGrant, "the username or the password is wrong")
}

// errTooManyFailures returns the error for a password that was not verified, because too many
// others were wrong. RFC 6749 has no code for it. HTTP clients wait and retry after a 429 with
// Retry-After (RFC 6585 section 4), whereas invalid_grant would tell the application that the
// password is wrong.
func errTooManyFailures(refused *throttle.RefusedError) error {
	return oauth.Errorf(oauth.TemporarilyUnavailable, "too many passwords were wrong; try again after the seconds in Retry-After").
		WithStatus(http.StatusTooManyRequests).WithHeader("Retry-After", refused.RetryAfter())
}

// verifyPassword returns the user if the password is theirs. It does the same work for a user who
// does not exist. A password that is too long is refused without any work, for every user.
func (h *Handler) verifyPassword(ctx context.Context, client *registry.Client, username, secret string) (*registry.User, error) {
	if len(secret) > password.MaxLength {
		return nil, errWrongPassword()
	}
	name, user, hash := h.Registry.LookUpLogin(username)
	right, err := h.Throttle.NewGrantAttempt(name, client.UID).Verify(ctx, h.Passwords, hash, secret)
	var refused *throttle.RefusedError
	switch {
	case errors.As(err, &refused):
		return nil, errTooManyFailures(refused)
	case errors.Is(err, password.ErrBusy):
		return nil, oauth.Errorf(oauth.TemporarilyUnavailable, "too many passwords are being verified; try again in a moment").
			WithHeader("Retry-After", web.RetryAfterHeader())
	case errors.Is(err, password.ErrMemory):
		return nil, oauth.Errorf(oauth.ServerError, "the server has too little memory to verify this password: its administrator finds the reason in its log").
			WithCause(err)
	case err != nil:
		return nil, err
	case !right || user == nil:
		return nil, errWrongPassword()
	}
	if err := h.Registry.CheckNotBefore(client.UID, user.UID, user.ProviderUID); err != nil {
		return nil, err
	}
	return user, nil
}
