package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// CreateGrant implements storage.Store.
func (s *Store) CreateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	if ctx.Err() != nil {
		return storage.Grant{}, storage.ErrUnavailable
	}
	created, ended, err := s.createGrant(g)
	for _, g := range ended {
		s.NotifyEnd(ctx, g)
	}
	return created, err
}

func (s *Store) createGrant(g storage.Grant) (created storage.Grant, ended []storage.Grant, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if g.SessionHash != "" && s.isMarked(storage.MarkSession, g.SessionHash, now) {
		return storage.Grant{}, nil, storage.ErrSessionEnded
	}
	if _, taken := s.grants[g.ID]; taken {
		return storage.Grant{}, nil, storage.ErrExists
	}
	if s.notEnded >= s.maxPerServer && now.Sub(s.lastSweep) >= time.Second {
		s.sweepGrants(now)
		s.lastSweep = now
	}
	if s.notEnded >= s.maxPerServer && s.countGrants(now) >= s.maxPerServer {
		return storage.Grant{}, nil, storage.ErrFull
	}
	ended = s.endOldest(g.UserUID, g.ClientUID, now)
	return s.storeGrant(g).Clone(), ended, nil
}

// countGrants returns how many grants count against the bound of the server.
func (s *Store) countGrants(now time.Time) int {
	count := 0
	for _, g := range s.grants {
		if s.Counts(g, now) {
			count++
		}
	}
	return count
}

// endOldest ends the oldest live grants of the user and the client so that one more keeps their
// bound, and returns those that it has ended.
func (s *Store) endOldest(userUID, clientUID string, now time.Time) (ended []storage.Grant) {
	var live []storage.Grant
	for id := range s.notEndedOf[userAndClient{userUID, clientUID}] {
		if g := s.grants[id]; s.Counts(g, now) {
			live = append(live, g)
		}
	}
	slices.SortFunc(live, compareByAge)
	for len(live) >= s.maxPerUserAndClient {
		live[0].End(now, storage.EndBound)
		ended = append(ended, s.storeGrant(live[0]).Clone())
		live = live[1:]
	}
	return ended
}

// storeGrant stores g under a new version, and updates the indexes.
func (s *Store) storeGrant(g storage.Grant) storage.Grant {
	if old, ok := s.grants[g.ID]; ok {
		s.removeFromIndexes(old)
	}
	g = g.Clone()
	g.Version = s.nextVersion()
	s.grants[g.ID] = g
	if !g.IsEnded() {
		s.notEnded++
		of := userAndClient{g.UserUID, g.ClientUID}
		if s.notEndedOf[of] == nil {
			s.notEndedOf[of] = map[string]struct{}{}
		}
		s.notEndedOf[of][g.ID] = struct{}{}
	}
	return g
}

func (s *Store) removeFromIndexes(g storage.Grant) {
	if !g.IsEnded() {
		s.notEnded--
		of := userAndClient{g.UserUID, g.ClientUID}
		if delete(s.notEndedOf[of], g.ID); len(s.notEndedOf[of]) == 0 {
			delete(s.notEndedOf, of)
		}
	}
}

// GetGrant implements storage.Store.
func (s *Store) GetGrant(ctx context.Context, id string) (storage.Grant, error) {
	if ctx.Err() != nil {
		return storage.Grant{}, storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.grants[id]
	if !ok {
		return storage.Grant{}, storage.ErrNotFound
	}
	return g.Clone(), nil
}

// UpdateGrant implements storage.Store.
func (s *Store) UpdateGrant(ctx context.Context, g storage.Grant) (storage.Grant, error) {
	if ctx.Err() != nil {
		return storage.Grant{}, storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.grants[g.ID]
	switch {
	case !ok:
		return storage.Grant{}, storage.ErrNotFound
	case old.Version != g.Version:
		return storage.Grant{}, storage.ErrConflict
	}
	return s.storeGrant(g).Clone(), nil
}

// Grants returns all grants that have not expired, the oldest first, for tests like SetGrantBounds.
func (s *Store) Grants() []storage.Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var found []storage.Grant
	for _, g := range s.grants {
		if now.Before(g.ExpiresAt) {
			found = append(found, g.Clone())
		}
	}
	slices.SortFunc(found, compareByAge)
	return found
}

// sweepGrants removes the grants that have expired at now, and returns how many.
func (s *Store) sweepGrants(now time.Time) int {
	removed := 0
	for id, g := range s.grants {
		if !now.Before(g.ExpiresAt) {
			s.removeFromIndexes(g)
			delete(s.grants, id)
			removed++
		}
	}
	return removed
}

func compareByAge(a, b storage.Grant) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
}
