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
type PasswordGrant struct {
	Client *registry.Client
	User   *registry.User
	// Scopes that the client may have, and Resources that it asked for.
	Scopes    []string
	Resources []string
}

// Password begins a grant. It has no session, and handing over the password is the consent: its refresh token lives by its own lifetimes.
func (s *Service) Password(ctx context.Context, r PasswordGrant) (Outcome, error) {
	server, ok := s.Registry.Server()
	if !ok {
		return Outcome{}, errNotServing
	}
	granted := storage.Grant{Scopes: r.Scopes, Resources: r.Resources, APIs: apis(r.Client, r.Scopes, r.Resources)}
	scopes, audience, err := access(r.Client, authorizedBy(granted), nil, nil)
	if err != nil {
		return Outcome{}, err
	}
	// The password may have changed while it was verified.
	user, err := s.stands(ctx, s.Store, r.Client, rests{userUID: r.User.UID, userEpoch: r.User.Epoch})
	if err != nil {
		return Outcome{}, err
	}
	id, err := s.draw()
	if err != nil {
		return Outcome{}, err
	}
	g := storage.Grant{
		ID:      hashID("password", id),
		UserUID: user.UID, Subject: user.Subject, UserEpoch: user.Epoch,
		AuthTime: s.Now(), AMR: []string{oauth.AMRPassword},
		Scopes: r.Scopes, Resources: r.Resources, APIs: granted.APIs, Offline: true,
	}
	if err := s.begin(&g, r.Client, server, time.Time{}, time.Time{}); err != nil {
		return Outcome{}, err
	}
	refreshToken, err := s.refreshToken(g)
	if err != nil {
		return Outcome{}, err
	}
	created, unknown, err := s.create(ctx, g)
	if err != nil {
		if unknown {
			s.orphans.add(g.ID)
		}
		return Outcome{}, err
	}
	s.endOrphan(ctx)
	return Outcome{Grant: created, User: user, Scopes: scopes, Audience: audience, RefreshToken: refreshToken}, nil
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
