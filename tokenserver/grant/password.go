package grant

import (
	"context"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// PasswordRequest is a token request with a password (RFC 6749 section 4.3). The client has
// authenticated, and the password was verified for this user, with this epoch.
type PasswordRequest struct {
	Client *registry.Client
	User   *registry.User
	// Scopes that the client may have, and Resources that it asked for.
	Scopes    []string
	Resources []string
}

// ExchangePassword begins a grant. The grant has no session, and needs no consent, because the user
// gave the client the password. Its refresh token has the lifetimes of an offline one.
//
// If the outcome of the write stays unknown, the client gets an error and its retry begins another
// grant. The first one may exist, without a token that anyone has, until it expires or the bound of
// the user and the client ends it.
func (s *Service) ExchangePassword(ctx context.Context, r PasswordRequest) (Result, error) {
	server, ok := s.Registry.Server()
	if !ok {
		return Result{}, registry.ErrNotServing
	}
	granted := storage.Grant{Scopes: r.Scopes, Resources: r.Resources, APIs: apisOf(r.Client, r.Scopes, r.Resources)}
	scopes, audience, err := resolveAccess(r.Client, coverageOf(granted), nil, nil)
	if err != nil {
		return Result{}, err
	}
	now := s.Now()
	// The password may have changed while it was verified.
	user, err := s.checkPreconditions(ctx, s.Store, r.Client, preconditions{
		userUID: r.User.UID, userEpoch: r.User.Epoch, providerUID: r.User.ProviderUID, signedInAt: now, authorizedAt: now,
	})
	if err != nil {
		return Result{}, err
	}
	id, err := s.newRandomID()
	if err != nil {
		return Result{}, err
	}
	g := storage.Grant{
		ID:      hashID("password", id),
		UserUID: user.UID, Subject: user.Subject, UserEpoch: user.Epoch,
		AuthTime: now, AMR: []string{oauth.AMRPassword}, CreatedAt: now,
		Scopes: r.Scopes, Resources: r.Resources, APIs: granted.APIs, Offline: true,
	}
	if err := s.initGrant(&g, r.Client, server, time.Time{}, time.Time{}); err != nil {
		return Result{}, err
	}
	refreshToken, err := s.sealRefreshToken(g)
	if err != nil {
		return Result{}, err
	}
	created, _, err := s.createGrant(ctx, g)
	if err != nil {
		return Result{}, err
	}
	return Result{Grant: created, User: user, Scopes: scopes, Audience: audience, RefreshToken: refreshToken}, nil
}
