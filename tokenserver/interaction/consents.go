package interaction

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Consents are what users have allowed clients for good.
type Consents struct {
	Store storage.Store
	Now   func() time.Time
}

// Covering is the UID of the consent of the user to the client, if it holds all that is asked; else
// it is empty.
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

// attempts of Grow before it gives up: each lost one means that another tab of the same user won.
const attempts = 8

// Grow adds what was asked to what the user has allowed the client, and writes nothing if it is
// there already. Nothing is taken away but what was allowed of a ResourceServer that another has
// replaced.
func (c *Consents) Add(ctx context.Context, userUID, clientUID string, asked grant.ConsentRequest) error {
	var last error
	for range attempts {
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
			// Another tab was faster, or the consent has just been withdrawn: decide by what is there now.
		case errors.Is(last, storage.ErrAmbiguous):
			// It may have been written: reading again tells.
		default:
			return fmt.Errorf("writing a consent: %w", last)
		}
	}
	return fmt.Errorf("writing a consent: %w", last)
}
