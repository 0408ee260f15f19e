package servertest

import (
	"context"
	"errors"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// RotatingStore is a JoinedStore that also replaces the refresh token of a grant that was not read in
// one exchange, as with a database (storage.Rotator). Faults and the count of UpdateGrant are of the
// exchange.
type RotatingStore struct {
	JoinedStore
	// records are those of the store, without faults.
	records JoinedStore
}

// UseRotatingStore makes the Server's grants use a RotatingStore in front of Store.
func (s *Server) UseRotatingStore() {
	s.Grants.Store = RotatingStore{JoinedStore{s.Store}, JoinedStore{s.Memory}}
}

// Rotate implements storage.Rotator.
func (s RotatingStore) Rotate(ctx context.Context, r storage.Rotation) (before, after storage.Grant, basis storage.Basis, err error) {
	before, read, err := s.records.GetGrantWithBasis(ctx, r.GrantID)
	switch {
	case errors.Is(err, storage.ErrNotFound), err == nil && !matches(before, r):
		return storage.Grant{}, storage.Grant{}, storage.Basis{}, storage.ErrConflict
	case err != nil:
		return storage.Grant{}, storage.Grant{}, storage.Basis{}, err
	}
	after = before.Clone()
	after.RefreshTokenNumber++
	after.Attempt, after.SealingKID = r.Attempt, r.SealingKID
	after.RefreshTokenIssuedAt, after.LastUsedAt, after.ExpiresAt = r.At, r.At, r.Expiry.Of(before)
	after, err = s.UpdateGrant(ctx, after)
	return before, after, *read, err
}

func matches(g storage.Grant, r storage.Rotation) bool {
	return g.Incarnation == r.Incarnation && g.ClientUID == r.ClientUID && g.ClientID == r.ClientID && g.RefreshTokenNumber == r.Number &&
		g.LastUsedAt.After(r.LastUsedAfter) && !g.IsEnded() && g.ProviderUID == ""
}
