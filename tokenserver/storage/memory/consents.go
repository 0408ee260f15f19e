package memory

import (
	"context"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Consent implements storage.Store.
func (s *Store) Consent(ctx context.Context, userUID, clientUID string) (storage.Consent, error) {
	if ctx.Err() != nil {
		return storage.Consent{}, storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.consents[pair{userUID, clientUID}]
	if !ok {
		return storage.Consent{}, storage.ErrNotFound
	}
	c.Scopes = slices.Clone(c.Scopes)
	return c, nil
}

// PutConsent implements storage.Store.
func (s *Store) PutConsent(ctx context.Context, c storage.Consent) (storage.Consent, error) {
	if ctx.Err() != nil {
		return storage.Consent{}, storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := pair{c.UserUID, c.ClientUID}
	old, exists := s.consents[key]
	switch {
	case c.Version == "" && exists:
		return storage.Consent{}, storage.ErrExists
	case c.Version != "" && !exists:
		return storage.Consent{}, storage.ErrNotFound
	case c.Version != old.Version:
		return storage.Consent{}, storage.ErrConflict
	}
	c.Version = s.nextVersion()
	c.Scopes = slices.Clone(c.Scopes)
	s.consents[key] = c
	c.Scopes = slices.Clone(c.Scopes)
	return c, nil
}

// DeleteConsent implements storage.Store.
func (s *Store) DeleteConsent(ctx context.Context, userUID, clientUID string) error {
	if ctx.Err() != nil {
		return storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.consents, pair{userUID, clientUID})
	return nil
}

// Sweep implements storage.Store.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	if ctx.Err() != nil {
		return 0, storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	removed := s.sweep(now)
	for key, until := range s.marks {
		if !now.Before(until) {
			delete(s.marks, key)
			s.places.Drop(key.name())
			removed++
		}
	}
	return removed, nil
}
