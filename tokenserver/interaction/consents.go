package interaction

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Consents are what users have allowed clients for good.
type Consents struct {
	Store storage.Store
	Now   func() time.Time
}

// Covers says whether the user has allowed the client all of the scopes.
func (c *Consents) Covers(ctx context.Context, userUID, clientUID string, scopes []string) (bool, error) {
	consent, err := c.Store.Consent(ctx, userUID, clientUID)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading a consent: %w", err)
	}
	return covers(consent.Scopes, scopes), nil
}

func covers(allowed, scopes []string) bool {
	for _, scope := range scopes {
		if !slices.Contains(allowed, scope) {
			return false
		}
	}
	return true
}

// attempts of Grow before it gives up: each lost one means that another tab of the same user won.
const attempts = 8

// Grow adds the scopes to what the user has allowed the client. It never takes any away, and writes nothing if they are there already.
func (c *Consents) Grow(ctx context.Context, userUID, clientUID string, scopes []string) error {
	var last error
	for range attempts {
		consent, err := c.Store.Consent(ctx, userUID, clientUID)
		now := c.Now()
		switch {
		case errors.Is(err, storage.ErrNotFound):
			consent = storage.Consent{UserUID: userUID, ClientUID: clientUID, GrantedAt: now}
		case err != nil:
			return fmt.Errorf("reading a consent: %w", err)
		case covers(consent.Scopes, scopes):
			return nil
		}
		consent.UpdatedAt = now
		for _, scope := range scopes {
			if !slices.Contains(consent.Scopes, scope) {
				consent.Scopes = append(slices.Clip(consent.Scopes), scope)
			}
		}
		_, last = c.Store.PutConsent(ctx, consent)
		switch {
		case last == nil:
			return nil
		case errors.Is(last, storage.ErrExists), errors.Is(last, storage.ErrConflict), errors.Is(last, storage.ErrNotFound):
			// Another tab was faster, or the consent has just been withdrawn: decide by what is there now.
		case errors.Is(last, storage.ErrAmbiguous):
			// It may have been written: reading again tells.
		default:
			return fmt.Errorf("writing a consent: %w", last)
		}
	}
	return fmt.Errorf("writing a consent: %w", last)
}
