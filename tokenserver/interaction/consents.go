package interaction

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Consents reads and writes what users have allowed clients. All fields are required.
type Consents struct {
	Store storage.Store
	Now   func() time.Time
}

// FindCovering returns the UID of the user's consent to the client if it covers all that is asked,
// otherwise "".
func (c *Consents) FindCovering(ctx context.Context, userUID, clientUID string, asked grant.ConsentRequest) (uid string, err error) {
	consent, err := c.Store.GetConsent(ctx, userUID, clientUID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("reading a consent: %w", err)
	case !asked.IsCoveredBy(consent):
		return "", nil
	}
	return consent.UID, nil
}

// maxAddAttempts is how often Add tries to write. An attempt fails when another tab of the same
// user writes first.
const maxAddAttempts = 8

// Add adds what is asked to the user's consent to the client. It writes nothing if the consent
// covers it already, and removes nothing but what was allowed for a ResourceServer that another one
// of the same identifier has replaced.
func (c *Consents) Add(ctx context.Context, userUID, clientUID string, asked grant.ConsentRequest) error {
	var last error
	for range maxAddAttempts {
		consent, err := c.Store.GetConsent(ctx, userUID, clientUID)
		now := c.Now()
		switch {
		case errors.Is(err, storage.ErrNotFound):
			consent = storage.Consent{UserUID: userUID, ClientUID: clientUID, GrantedAt: now}
		case err != nil:
			return fmt.Errorf("reading a consent: %w", err)
		case consent.UID != "" && asked.IsCoveredBy(consent):
			return nil
		}
		asked.AddTo(&consent)
		consent.UpdatedAt = now
		_, last = c.Store.PutConsent(ctx, consent)
		switch {
		case last == nil:
			return nil
		case errors.Is(last, storage.ErrExists), errors.Is(last, storage.ErrConflict), errors.Is(last, storage.ErrNotFound):
			// Another tab wrote first, or the consent was withdrawn: decide by what is stored now.
		case errors.Is(last, storage.ErrAmbiguous):
			// It may be written: the next read tells.
		default:
			return fmt.Errorf("writing a consent: %w", last)
		}
	}
	return fmt.Errorf("writing a consent: %w", last)
}
