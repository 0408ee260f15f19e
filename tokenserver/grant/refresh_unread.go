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
	keeps := settings.RotatePublicClientsOnly && !r.Client.IsPublic()
	if !isRotator || keeps || len(r.Scopes)+len(r.Resources) > 0 || settings.ReuseGracePeriod.Duration() < maxRequestDuration {
		return Result{}, false, nil
	}
	now := s.Now()
	before, after, basis, err := rotator.Rotate(ctx, storage.Rotation{
		GrantID: r.token.Grant, Incarnation: r.token.Incarnation, ClientUID: r.Client.UID, ClientID: r.Client.ID, Number: r.token.Number,
		LastUsedAfter: now.Add(-settings.IdleLifetime.Duration()),
		Attempt:       r.attempt, SealingKID: s.Keys.SealingKID(), At: now, Expiry: expiryAfter(r.Client, r.server, now),
	})
	switch {
	case errors.Is(err, storage.ErrConflict), errors.Is(err, errors.ErrUnsupported):
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

// putBack makes a grant what it was before it was rotated. If that fails, its last token is good for
// the grace period, as after an answer that was lost.
func (s *Service) putBack(ctx context.Context, before, rotated storage.Grant) {
	before.Version = rotated.Version
	if _, err := s.Store.UpdateGrant(ctx, before); err != nil {
		s.Log.WarnContext(ctx, "a refused refresh token could not be put back: it is good for the grace period", "grant", before.ID, "error", err)
	}
}
