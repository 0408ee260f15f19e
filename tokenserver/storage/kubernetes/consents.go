package kubernetes

import (
	"context"
	"errors"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// GetConsent implements storage.Store.
func (s *Store) GetConsent(ctx context.Context, userUID, clientUID string) (storage.Consent, error) {
	found := &v1alpha1.OAuthConsent{}
	if err := s.readObject(ctx, consentResource, s.consentName(pair{userUID, clientUID}), found); err != nil {
		return storage.Consent{}, err
	}
	return fromConsentObject(found), nil
}

// HasConsent implements storage.Store.
func (s *Store) HasConsent(ctx context.Context, userUID, clientUID, consentUID string) (bool, error) {
	consent, err := s.GetConsent(ctx, userUID, clientUID)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil && consentUID != "" && consent.UID == consentUID, err
}

// PutConsent implements storage.Store.
func (s *Store) PutConsent(ctx context.Context, c storage.Consent) (storage.Consent, error) {
	put := s.createObject
	if c.Version != "" {
		put = s.updateObject
	}
	stored := &v1alpha1.OAuthConsent{}
	if err := put(ctx, consentResource, s.toConsentObject(c), stored); err != nil {
		return storage.Consent{}, err
	}
	return fromConsentObject(stored), nil
}
