package memory

import (
	"context"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// GetConsent implements storage.Store.
func (s *Store) GetConsent(ctx context.Context, userUID, clientUID string) (storage.Consent, error) {
	if ctx.Err() != nil {
		return storage.Consent{}, storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.consents[userAndClient{userUID, clientUID}]
	if !ok {
		return storage.Consent{}, storage.ErrNotFound
	}
	return c.Clone(), nil
}

// HasConsent implements storage.Store.
func (s *Store) HasConsent(ctx context.Context, userUID, clientUID, consentUID string) (bool, error) {
	if ctx.Err() != nil {
		return false, storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.consents[userAndClient{userUID, clientUID}]
	return ok && c.UID == consentUID, nil
}

// PutConsent implements storage.Store.
func (s *Store) PutConsent(ctx context.Context, c storage.Consent) (storage.Consent, error) {
	if ctx.Err() != nil {
		return storage.Consent{}, storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := userAndClient{c.UserUID, c.ClientUID}
	old, exists := s.consents[key]
	switch {
	case c.Version == "" && exists:
		return storage.Consent{}, storage.ErrExists
	case c.Version != "" && !exists:
		return storage.Consent{}, storage.ErrNotFound
	case c.Version != old.Version:
		return storage.Consent{}, storage.ErrConflict
	}
	c = c.Clone()
	c.Version, c.UID = s.nextVersion(), old.UID
	if !exists {
		c.UID = c.Version
	}
	s.consents[key] = c
	return c.Clone(), nil
}

// DeleteConsent deletes a consent, and ends the grants that rest on it. It returns nil if there is
// none. Nothing else can reach the records of this store, so tests withdraw consents by it.
func (s *Store) DeleteConsent(ctx context.Context, userUID, clientUID string) error {
	if ctx.Err() != nil {
		return storage.ErrUnavailable
	}
	for _, g := range s.deleteConsent(userAndClient{userUID, clientUID}) {
		s.NotifyEnd(ctx, g)
	}
	return nil
}

// deleteConsent deletes a consent, and returns the grants that it has ended.
func (s *Store) deleteConsent(of userAndClient) (ended []storage.Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	delete(s.consents, of)
	for id := range s.notEndedOf[of] {
		if g := s.grants[id]; g.Consented && g.IsLive(now) {
			g.End(now, storage.EndConsentWithdrawn)
			ended = append(ended, s.storeGrant(g).Clone())
		}
	}
	return ended
}
