package grant

import (
	"context"
	"errors"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// endTimeout bounds how long ending a grant may take once its request has gone.
const endTimeout = 10 * time.Second

// End ends a grant and all its tokens, for one of the reasons in package storage. It is no error if the grant has ended, or is gone. Who asked
// may hang up: it is done all the same.
func (s *Service) End(ctx context.Context, id, reason string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	attempt, err := s.draw()
	if err != nil {
		return err
	}
	for range maxTries {
		g, err := s.Store.Grant(ctx, id)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			return nil
		case err != nil:
			return err
		case g.Ended():
			if g.Attempt == attempt[:32] {
				s.ended(ctx, g)
			}
			return nil
		}
		g.End(s.Now(), reason)
		g.Attempt = attempt[:32]
		updated, err := s.Store.UpdateGrant(ctx, g)
		switch {
		case err == nil:
			s.ended(ctx, updated)
			return nil
		case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrAmbiguous), errors.Is(err, storage.ErrNotFound):
			continue // look again
		default:
			return err
		}
	}
	return storage.ErrAmbiguous
}

// ended writes the audit event of a grant that this request ended.
func (s *Service) ended(ctx context.Context, g storage.Grant) {
	s.Metrics.ended(g.EndReason)
	s.Log.WarnContext(ctx, "grant ended", "audit", "GrantEnded", "reason", g.EndReason, "grant", g.ID, "client", g.ClientID, "user", g.UserUID)
}

// Withdraw deletes the consent of a user to a client and ends the grants of the pair.
func (s *Service) Withdraw(ctx context.Context, userUID, clientUID string) error {
	if err := s.Store.DeleteConsent(ctx, userUID, clientUID); err != nil {
		return err
	}
	grants, err := s.Store.GrantsOf(ctx, userUID, clientUID)
	if err != nil {
		return err
	}
	for _, g := range grants {
		if err := s.End(ctx, g.ID, storage.EndConsentWithdrawn); err != nil {
			return err
		}
	}
	return nil
}
