package grant

import (
	"context"
	"errors"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// refreshUnread rotates the token of a grant that was not read, where the store can do that, and
// checks the grant that comes back with it: one exchange instead of two. A grant that is refused is
// put back as it was, so that here too only a request that passes every check uses up its token. It
// reports whether it has an answer. If not, for whatever reason, the caller reads the record.
//
// A request that asks for less than was granted may be refused for what it asks, and is read first.
// Another request with the same token, in the moment before a grant is put back, is answered with the
// next token as in any grace period, and that token is refused later; but it would have to pass
// where this one is refused. If the grace period may be shorter than the request, the record is read
// first too: see refreshFromCache.
func (s *Service) refreshUnread(ctx context.Context, r *refreshState) (result Result, ok bool, err error) {
	rotator, isRotator := s.Store.(storage.Rotator)
	settings := r.server.RefreshToken
	if !isRotator || isKept(settings, r.Client.IsPublic()) || len(r.Scopes)+len(r.Resources) > 0 ||
		settings.ReuseGracePeriod.Duration() < maxRequestDuration {
		return Result{}, false, nil
	}
	now := s.Now()
	before, after, basis, err := rotator.Rotate(ctx, storage.Rotation{
		GrantID: r.token.Grant, Incarnation: r.token.Incarnation, ClientUID: r.Client.UID, ClientID: r.Client.ID, Number: r.token.Number,
		LastUsedAfter: now.Add(-settings.IdleLifetime.Duration()),
		Attempt:       r.attempt, SealingKID: s.Keys.SealingKID(), At: now, Expiry: expiryAfter(r.Client, r.server, now),
	})
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return Result{}, false, nil
	case errors.Is(err, storage.ErrConflict):
		r.unread = true // it may be with the write itself, delivered twice
		return Result{}, false, nil
	case errors.Is(err, storage.ErrAmbiguous):
		r.maybeWritten, r.unread = true, true
		return Result{}, false, nil
	case err != nil:
		return Result{}, true, err
	}
	result, err = s.resultOf(ctx, r, before, storage.WithBasis(s.Store, before, basis))
	if err == nil {
		result.Grant = after
		result.RefreshToken, err = s.sealRefreshToken(after)
	}
	if err != nil {
		s.putBack(ctx, before, after)
		return Result{}, true, err
	}
	return result, true, nil
}

// putBack makes a grant what it was before it was rotated, also if the client has gone meanwhile. If
// that fails, its last token is good for the grace period, as after an answer that was lost.
func (s *Service) putBack(ctx context.Context, before, rotated storage.Grant) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	before.Version = rotated.Version
	_, err := s.Store.UpdateGrant(ctx, before)
	if errors.Is(err, storage.ErrAmbiguous) {
		_, err = s.Store.UpdateGrant(ctx, before) // a conflict if the first has happened
	}
	if err != nil && !errors.Is(err, storage.ErrConflict) {
		s.Log.WarnContext(ctx, "a refused refresh token could not be put back: it is good for the grace period", "grant", before.ID, "error", err)
	}
}

// repeatUnread answers a request whose rotation by refreshUnread is found to have happened, after its
// answer was lost. What the grant was before is not known. If the request is refused, the token that
// the client has becomes the current one again, and none before it is in a grace period.
func (s *Service) repeatUnread(ctx context.Context, r *refreshState, g storage.Grant, from storage.Reader) (Result, error) {
	result, err := s.refreshOnce(ctx, r, g, from, actionRepeat)
	var refused *RefusedError
	if errors.As(err, &refused) && g.RefreshTokenNumber == r.token.Number+1 {
		before := g
		before.RefreshTokenNumber, before.RefreshTokenIssuedAt = r.token.Number, g.CreatedAt
		s.putBack(ctx, before, g)
	}
	return result, err
}
