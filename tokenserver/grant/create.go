package grant

import (
	"context"
	"errors"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	// maxTries is how often a request writes in all, after conflicts or lost answers.
	maxTries = 16
	// clockSkew is how much the clocks of two replicas may differ. A grant is kept for that long
	// after its code has expired. Otherwise a replica whose clock is late could redeem the code
	// again.
	clockSkew = time.Minute
)

// errCreatedByAnother is returned if another request has created the record.
var errCreatedByAnother = errors.New("another request created the grant")

// initGrant sets the fields that every new grant has. The zero time stands for no limit: refreshing
// ends at refreshEnd if the grant ends with its session, and codeExpiry is when the code that it
// began with has expired.
func (s *Service) initGrant(g *storage.Grant, client *registry.Client, server documents.Server, refreshEnd, codeExpiry time.Time) error {
	attempt, err := s.newRandomID()
	if err != nil {
		return err
	}
	incarnation, err := s.newRandomID()
	if err != nil {
		return err
	}
	now := s.Now()
	g.Attempt, g.Incarnation = attempt[:32], incarnation[:32]
	g.ClientUID, g.ClientID = client.UID, client.ID
	g.LastUsedAt = now
	if client.HasGrantType(oauth.GrantRefreshToken) {
		g.RefreshTokenNumber, g.RefreshTokenIssuedAt, g.SealingKID = 1, now, s.Keys.SealingKID()
		g.RefreshUntil = now.Add(server.RefreshToken.AbsoluteLifetime.Duration())
		if !refreshEnd.IsZero() {
			g.RefreshUntil = earlier(g.RefreshUntil, refreshEnd)
		}
	}
	if !codeExpiry.IsZero() {
		g.ExpiresAt = codeExpiry.Add(clockSkew)
	}
	g.ExpiresAt = expiryOf(*g, client, server, now)
	return nil
}

// expiryOf returns when a grant that is used now can authorize nothing any more, because its
// refresh token and its access tokens have expired. It is not before the time until which the
// record is kept for its code.
func expiryOf(g storage.Grant, client *registry.Client, server documents.Server, now time.Time) time.Time {
	if g.RefreshTokenNumber == 0 {
		g.RefreshUntil = now
	}
	return expiryAfter(client, server, now).Of(g)
}

// expiryAfter returns the rule of expiryOf. The client may refresh just before the end, or repeat that
// in the grace period, and the access token lives on.
func expiryAfter(client *registry.Client, server documents.Server, now time.Time) storage.Expiry {
	return storage.Expiry{
		IdleUntil: now.Add(server.RefreshToken.IdleLifetime.Duration()),
		Lag:       client.AccessTokenLifetime + server.RefreshToken.ReuseGracePeriod.Duration(),
		CodeLag:   maxCodeLifetime + clockSkew,
	}
}

// createGrant creates the record. After a lost answer it reads the record: one with the Attempt of
// g is the request's own. It returns errCreatedByAnother, with the record if there still is one, if
// another request was first, and a *RefusedError if the session of g has ended. MaybeWritten reports
// whether the record of this attempt may exist now or come to exist. This includes ErrExists, until
// the record is read: a proxy may have delivered the request twice.
func (s *Service) createGrant(ctx context.Context, g storage.Grant) (created storage.Grant, maybeWritten bool, err error) {
	for range maxTries {
		created, err = s.Store.CreateGrant(ctx, g)
		if err == nil {
			return created, true, nil
		}
		switch {
		case errors.Is(err, storage.ErrSessionEnded):
			return storage.Grant{}, maybeWritten, errSessionEnded
		case errors.Is(err, storage.ErrFull):
			s.Metrics.countGrantsFull()
			s.Log.WarnContext(ctx, "the bound on live grants is reached", "client", g.ClientID)
		}
		ambiguous := errors.Is(err, storage.ErrAmbiguous)
		if !ambiguous && !errors.Is(err, storage.ErrExists) {
			return storage.Grant{}, maybeWritten, err
		}
		maybeWritten = true
		found, err := s.Store.GetGrant(ctx, g.ID)
		switch {
		case err == nil && found.Attempt == g.Attempt && !found.IsEnded():
			return found, true, nil
		case err == nil:
			return found, false, errCreatedByAnother
		case errors.Is(err, storage.ErrNotFound) && ambiguous:
			continue // the request did not arrive
		case errors.Is(err, storage.ErrNotFound):
			return storage.Grant{}, false, errCreatedByAnother // and deleted it since
		default:
			return storage.Grant{}, true, err
		}
	}
	return storage.Grant{}, maybeWritten, storage.ErrAmbiguous
}
