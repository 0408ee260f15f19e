package kubernetes

import (
	"context"
	"fmt"
	"maps"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	// confirmTimeout is how long a creation waits for the watch to send it, which takes
	// milliseconds while the watch works.
	confirmTimeout = 3 * time.Second
	// deletionRetention is how long after the creation of a grant its deletion is remembered: the
	// ten minutes that a code is valid at most, and a margin for clocks that differ.
	deletionRetention = 15 * time.Minute
)

// confirmCreated waits until the watch has sent everything up to a grant that was just created. If
// a grant of its name was deleted before, the code had been redeemed already: confirmCreated
// deletes the new one and returns ErrExists. Else it enforces the bound of the pair. If the watch
// does not come so far in time, it returns ErrAmbiguous, and the first read of the grant confirms
// it.
func (s *Store) confirmCreated(ctx context.Context, created *v1alpha1.OAuthGrant) error {
	waiting, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	if !s.grants.progress.waitFor(waiting, parseVersion(created.ResourceVersion)) {
		s.markUncertain(created.Name)
		return fmt.Errorf("%w: the watch has not sent the grant", storage.ErrAmbiguous)
	}
	s.clearUncertain(created.Name)
	if s.wasDeleted(created.Name) {
		s.deleteRecreated(ctx, created)
		return storage.ErrExists
	}
	s.enforcePairBound(ctx, fromGrantObject(created))
	return nil
}

// wasDeleted reports whether a grant of this name was deleted with kubectl while its code could be
// redeemed.
func (s *Store) wasDeleted(name string) bool {
	now := s.config.Now()
	return s.grants.wasDeletedEarly(name, now) || s.marks.has(s.markName(deletedGrantMark, name), now)
}

// deleteRecreated deletes a grant that was created again by a code that had been redeemed before.
// If that fails, the object has no effect, since wasDeleted is true of its name.
func (s *Store) deleteRecreated(ctx context.Context, o *v1alpha1.OAuthGrant) {
	if err := s.deleteObject(ctx, grantResource, o.Name, &metav1.Preconditions{UID: &o.UID}); err != nil {
		s.config.Log.WarnContext(ctx, "cannot delete a grant that a redeemed code created again", "grant", o.Spec.ID, "error", err.Error())
	}
}

// enforcePairBound ends the oldest live grants of the pair of g beyond the bound, but not g. If
// that fails, the creation of the next grant does it.
func (s *Store) enforcePairBound(ctx context.Context, g storage.Grant) {
	bound, _ := s.bounds()
	of := pair{g.UserUID, g.ClientUID}
	if s.grants.countOf(of) <= bound { // with g, and with those that have ended
		return
	}
	now := s.config.Now()
	others := s.grants.grantsOf(of, func(other storage.Grant) bool {
		return other.ID != g.ID && s.Counts(other, now)
	})
	for len(others) >= bound {
		if err := s.endGrant(ctx, others[0].ID, storage.EndBound); err != nil {
			s.config.Log.WarnContext(ctx, "cannot end the oldest grant of a user and client", "grant", others[0].ID, "error", err.Error())
			return
		}
		others = others[1:]
	}
}

// isFull reports whether the server has as many live grants as it may have.
func (s *Store) isFull() bool {
	_, bound := s.bounds()
	return s.grants.countNotEnded() >= bound && s.grants.countLive(s.config.Now()) >= bound
}

// markUncertain records that the creation of a grant has to be confirmed when it is read.
func (s *Store) markUncertain(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uncertain[name] = s.config.Now()
}

func (s *Store) isUncertain(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.uncertain[name]
	return ok
}

func (s *Store) clearUncertain(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uncertain, name)
}

// forgetOldCodes forgets the deletions and uncertain creations of grants whose code has expired.
func (s *Store) forgetOldCodes(now time.Time) {
	s.grants.forgetOldDeletions(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.uncertain, func(_ string, since time.Time) bool { return now.Sub(since) > deletionRetention })
}
