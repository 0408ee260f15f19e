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
	if err := get(ctx, s.in(s.clients.public.Get(), consentResource), s.consentName(pair{userUID, clientUID}), found); err != nil {
		return storage.Consent{}, err
	}
	return consentOf(found), nil
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
	o, stored := s.consentObject(c), &v1alpha1.OAuthConsent{}
	request := s.in(s.clients.public.Post(), consentResource)
	if c.Version != "" {
		request = s.in(s.clients.public.Put(), consentResource).Name(o.Name)
	}
	err := put(ctx, request, o, stored)
	switch {
	case errors.Is(err, storage.ErrNotFound) && c.Version == "": // the namespace, or the kind
		return storage.Consent{}, storage.ErrUnavailable
	case err != nil:
		return storage.Consent{}, err
	}
	return consentOf(stored), nil
}

// DeleteConsent deletes a consent, as kubectl does. It ends the pair's grants soon after.
func (s *Store) DeleteConsent(ctx context.Context, userUID, clientUID string) error {
	err := write(ctx, s.in(s.clients.public.Delete(), consentResource).Name(s.consentName(pair{userUID, clientUID})), nil)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}
