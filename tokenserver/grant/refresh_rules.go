package grant

import (
	"context"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// refreshAction is what a request with a refresh token leads to.
type refreshAction int

const (
	// actionEndReused ends the grant: the token was replaced long ago, and a copy of it is used.
	actionEndReused refreshAction = iota
	// actionRotate replaces the token, which is current.
	actionRotate
	// actionKeep keeps the token, which is current.
	actionKeep
	// actionRepeat returns the next token again: this one was just replaced, by a request whose
	// answer was lost or by a parallel one.
	actionRepeat
	// actionRefuseNewer refuses a token that is newer than the record.
	actionRefuseNewer
)

// isKept reports whether the settings have a client keep its refresh token. Public is whether the
// client is.
func isKept(settings documents.RefreshToken, public bool) bool {
	return settings.RotatePublicClientsOnly && !public
}

// chooseAction returns what the server's settings say for the refresh token with a number. Public is
// whether the client is.
func (s *Service) chooseAction(g storage.Grant, number int64, settings documents.RefreshToken, public bool) refreshAction {
	switch {
	case number > g.RefreshTokenNumber:
		return actionRefuseNewer
	case number == g.RefreshTokenNumber && isKept(settings, public):
		return actionKeep
	case number == g.RefreshTokenNumber:
		return actionRotate
	case number == g.RefreshTokenNumber-1 && s.isInGracePeriod(g, settings.ReuseGracePeriod.Duration()):
		return actionRepeat
	default:
		return actionEndReused
	}
}

// isInGracePeriod reports whether the last rotation was less than the grace period ago, not
// counting outages of the store. Without a grace period the answer is no.
func (s *Service) isInGracePeriod(g storage.Grant, gracePeriod time.Duration) bool {
	if gracePeriod > 0 {
		gracePeriod += s.outages.durationSince(g.RefreshTokenIssuedAt)
	}
	return s.Now().Before(g.RefreshTokenIssuedAt.Add(gracePeriod))
}

// checkRefresh returns the user if the grant may be refreshed at all, with whichever of its tokens,
// or a *RefusedError. What the grant rests on is read from the reader; confirmed is as in
// preconditions.
func (s *Service) checkRefresh(
	ctx context.Context, from storage.Reader, client *registry.Client, g storage.Grant, server documents.Server, confirmed bool,
) (*registry.User, error) {
	now := s.Now()
	switch {
	case g.IsEnded():
		return nil, invalidGrant("the authorization has ended")
	case !now.Before(refreshEndsAt(g, server)):
		return nil, invalidGrant("the refresh token has reached the end of its lifetime")
	case !now.Before(g.LastUsedAt.Add(server.RefreshToken.IdleLifetime.Duration())):
		return nil, invalidGrant("the refresh token was not used for too long")
	case client.HasEnded(grantTypeOf(g)):
		return nil, invalidGrant("the server does not allow the client the grant type any more that the authorization began with: legacyUntil of its rule has passed")
	case !client.HasGrantType(grantTypeOf(g)):
		return nil, invalidGrant("the client no longer lists the grant type that the authorization began with")
	case !mayBeOffline(client, g):
		return nil, invalidGrant("the client may no longer use offline_access")
	}
	required := preconditionsOf(g)
	required.confirmed = confirmed
	user, err := s.checkPreconditions(ctx, from, client, required)
	if err != nil {
		return nil, err
	}
	if end, ok := user.SignInEndsAt(g.SignInTime()); ok && !now.Before(end) {
		return nil, invalidGrant("the user has to sign in at the identity provider again: its maxAge has passed")
	}
	return user, nil
}

// refreshEndsAt returns when refreshing ends at the latest. If a lifetime was lowered after the
// grant began, the lower one applies; a raised one does not. A grant that ends with its session
// ends no later than the session, which began with the login.
func refreshEndsAt(g storage.Grant, server documents.Server) time.Time {
	end := earlier(g.RefreshUntil, g.CreatedAt.Add(server.RefreshToken.AbsoluteLifetime.Duration()))
	if preconditionsOf(g).sessionHash != "" {
		end = earlier(end, g.SignInTime().Add(server.SessionAbsoluteLifetime.Duration()))
	}
	return end
}
