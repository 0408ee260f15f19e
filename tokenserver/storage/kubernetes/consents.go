package kubernetes

import (
	"context"
	"errors"
	"fmt"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// GetConsent implements storage.Store.
func (s *Store) GetConsent(ctx context.Context, userUID, clientUID string) (storage.Consent, error) {
	found := &v1alpha1.OAuthConsent{}
	if err := s.readRecord(ctx, consentResource, s.consentName(pair{userUID, clientUID}), found); err != nil {
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

// PutConsent implements storage.Store. While a finalizer keeps a consent that is being deleted, there is
// no place for another one: ErrUnavailable.
func (s *Store) PutConsent(ctx context.Context, c storage.Consent) (storage.Consent, error) {
	put := s.createObject
	if c.Version != "" {
		put = s.updateObject
	}
	stored := &v1alpha1.OAuthConsent{}
	err := put(ctx, consentResource, s.toConsentObject(c), stored)
	if errors.Is(err, storage.ErrExists) {
		found := &v1alpha1.OAuthConsent{}
		if s.readObject(ctx, consentResource, s.consentName(pair{c.UserUID, c.ClientUID}), found) == nil && found.DeletionTimestamp != nil {
			err = fmt.Errorf("%w: OAuthConsent %s is being deleted, and a finalizer still keeps it", storage.ErrUnavailable, found.Name)
		}
	}
	if err != nil {
		return storage.Consent{}, err
	}
	return fromConsentObject(stored), nil
}
