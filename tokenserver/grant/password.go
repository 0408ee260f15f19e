package grant

import (
	"context"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// PasswordGrant is a token request with a password (RFC 6749 section 4.3). The client has authenticated and the password was verified for this
// user, with this epoch.
type PasswordRequest struct {
	Client *registry.Client
	User   *registry.User
	// Scopes that the client may have, and Resources that it asked for.
	Scopes    []string
	Resources []string
}

// Password begins a grant. It has no session, and handing over the password is the consent: its refresh token lives by its own lifetimes.
func (s *Service) ExchangePassword(ctx context.Context, r PasswordRequest) (Result, error) {
	server, ok := s.Registry.Server()
	if !ok {
		return Result{}, errNotServing
	}
	granted := storage.Grant{Scopes: r.Scopes, Resources: r.Resources, APIs: apisOf(r.Client, r.Scopes, r.Resources)}
	scopes, audience, err := resolveAccess(r.Client, coverageOf(granted), nil, nil)
	if err != nil {
		return Result{}, err
	}
	// The password may have changed while it was verified.
	user, err := s.checkPreconditions(ctx, s.Store, r.Client, preconditions{userUID: r.User.UID, userEpoch: r.User.Epoch})
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
		AuthTime: s.Now(), AMR: []string{oauth.AMRPassword},
		Scopes: r.Scopes, Resources: r.Resources, APIs: granted.APIs, Offline: true,
	}
	if err := s.initGrant(&g, r.Client, server, time.Time{}, time.Time{}); err != nil {
		return Result{}, err
	}
	refreshToken, err := s.sealRefreshToken(g)
	if err != nil {
		return Result{}, err
	}
	created, unknown, err := s.createGrant(ctx, g)
	if err != nil {
		if unknown {
			s.orphans.add(g.ID)
		}
		return Result{}, err
	}
	s.endOrphan(ctx)
	return Result{Grant: created, User: user, Scopes: scopes, Audience: audience, RefreshToken: refreshToken}, nil
}

// endOrphan ends one grant that may have begun although its client was told to try again: the next try begins another, and nobody can ever use
// the first. What fails is tried with a later request.
func (s *Service) endOrphan(ctx context.Context) {
	id, ok := s.orphans.take()
	if !ok {
		return
	}
	if err := s.End(ctx, id, storage.EndUnanswered); err != nil {
		s.orphans.add(id)
	}
}
