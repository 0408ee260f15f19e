package token

import (
	"context"
	"errors"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

func (h *Handler) password(ctx context.Context, client *registry.Client, form oauth.Params) (*answer, error) {
	if !form.Has("username") || !form.Has("password") {
		return nil, oauth.Errorf(oauth.InvalidRequest, "username or password is missing")
	}
	requested, err := oauth.ParseScope(form.Get("scope"))
	if err != nil {
		return nil, err
	}
	scopes, _, err := client.ResolveScope(requested, false)
	if err != nil {
		return nil, err
	}
	resources, err := resourcesOf(form)
	if err != nil {
		return nil, err
	}
	if _, _, err := client.Audience(scopes, resources); err != nil {
		return nil, err
	}
	user, err := h.verifyPassword(ctx, form.Get("username"), form.Get("password"))
	if err != nil {
		return nil, err
	}
	out, err := h.Grants.Password(ctx, grant.PasswordGrant{Client: client, User: user, Scopes: scopes, Resources: resources})
	if err != nil {
		return nil, err
	}
	return h.answerFor(client, out, "")
}

// errPassword is the same for every user, known or not.
func errPassword() error {
	return oauth.Errorf(oauth.InvalidGrant, "the username or the password is wrong")
}

// verifyPassword does the same work for users who do not exist. A password that is too long is refused before any work, whoever the user is.
func (h *Handler) verifyPassword(ctx context.Context, username, secret string) (*registry.User, error) {
	if len(secret) > password.MaxLength {
		return nil, errPassword()
	}
	var user *registry.User
	hash := ""
	if name, err := password.NormalizeUsername(username); err == nil {
		if found, ok := h.Registry.UserByName(name); ok {
			user, hash = found, found.PasswordHash
		}
	}
	right, err := h.Passwords.Verify(ctx, hash, secret)
	switch {
	case errors.Is(err, password.ErrBusy):
		return nil, oauth.Errorf(oauth.TemporarilyUnavailable, "too many passwords are being verified; try again in a moment").
			WithHeader("Retry-After", "2")
	case err != nil:
		return nil, err
	case !right || user == nil:
		return nil, errPassword()
	}
	return user, nil
}
