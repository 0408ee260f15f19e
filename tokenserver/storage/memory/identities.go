package memory

import (
	"context"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// GetIdentity implements storage.Store.
func (s *Store) GetIdentity(ctx context.Context, subject string) (storage.Identity, error) {
	if ctx.Err() != nil {
		return storage.Identity{}, storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.identities[subject]
	if !ok {
		return storage.Identity{}, storage.ErrNotFound
	}
	return cloneIdentity(i)
}

// CreateIdentity implements storage.Store.
func (s *Store) CreateIdentity(ctx context.Context, i storage.Identity, maxOfProvider int) (storage.Identity, error) {
	if ctx.Err() != nil {
		return storage.Identity{}, storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, exists := s.identities[i.Subject]; exists {
		return storage.Identity{}, storage.ErrExists
	}
	if len(s.identities) >= s.maxIdentities || s.countIdentities(i.ProviderUID) >= maxOfProvider {
		return storage.Identity{}, storage.ErrFull
	}
	i.Incarnation = s.id + "-" + s.nextVersion()
	return s.storeIdentity(i)
}

// UpdateIdentity implements storage.Store.
func (s *Store) UpdateIdentity(ctx context.Context, i storage.Identity) (storage.Identity, error) {
	if ctx.Err() != nil {
		return storage.Identity{}, storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.identities[i.Subject]
	switch {
	case !ok:
		return storage.Identity{}, storage.ErrNotFound
	case old.Version != i.Version, old.ClaimsAt.After(i.ClaimsAt):
		return storage.Identity{}, storage.ErrConflict
	}
	i.Incarnation = old.Incarnation
	return s.storeIdentity(i)
}

// CountIdentities implements storage.Store.
func (s *Store) CountIdentities(ctx context.Context, providerUID string) (int, error) {
	if ctx.Err() != nil {
		return 0, storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.countIdentities(providerUID), nil
}

// DeleteIdentity deletes an identity. It returns nil if there is none. Nothing else can reach the
// records of this store, so tests delete identities by it.
func (s *Store) DeleteIdentity(ctx context.Context, subject string) error {
	if ctx.Err() != nil {
		return storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.identities, subject)
	return nil
}

// storeIdentity stores i under a new version, and returns a copy.
func (s *Store) storeIdentity(i storage.Identity) (storage.Identity, error) {
	i.Version = s.nextVersion()
	stored, err := cloneIdentity(i)
	if err != nil {
		return storage.Identity{}, err
	}
	s.identities[i.Subject] = stored
	return cloneIdentity(stored)
}

func (s *Store) countIdentities(providerUID string) int {
	count := 0
	for _, i := range s.identities {
		if i.ProviderUID == providerUID {
			count++
		}
	}
	return count
}

// sweepIdentities removes the identities that are idle and not needed, and returns how many.
func (s *Store) sweepIdentities(now time.Time) int {
	needed := map[string]bool{} // by subject, which is the user's UID in grants
	for _, g := range s.grants {
		if g.IsLive(now) {
			needed[g.UserUID] = true
		}
	}
	removed := 0
	for subject, i := range s.identities {
		if i.IsIdle(now) && !needed[subject] && !s.HasSpec(subject) {
			delete(s.identities, subject)
			removed++
		}
	}
	return removed
}

// cloneIdentity returns a copy that shares no claim with i. It has the claims as the other stores
// return them: as JSON decodes them.
func cloneIdentity(i storage.Identity) (storage.Identity, error) {
	encoded, err := i.MarshalClaims()
	if err != nil {
		return storage.Identity{}, err
	}
	err = i.UnmarshalClaims(encoded)
	return i, err
}
