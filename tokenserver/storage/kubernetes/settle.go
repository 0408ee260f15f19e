package kubernetes

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	// settleTimeout is how long a creation waits for the watch to bring it; that takes milliseconds while the watch works.
	settleTimeout = 3 * time.Second
	// codeMemory is how long after its creation a grant's code may still be redeemed: the ten minutes that a code lives at most, and some for
	// clocks that differ. A grant that is deleted within that time is remembered as dead for the rest of it.
	codeMemory = 15 * time.Minute
)

// settle lets a grant that was created stand, once the watch has brought everything up to it. If a grant of its name was deleted before, the
// creation was by a code that had been redeemed already: ErrExists, and the object goes. Else the bound of the pair is kept. ErrAmbiguous if
// the watch does not come that far in time; the grant is then settled by whoever reads it first.
func (s *Store) settle(ctx context.Context, created *v1alpha1.OAuthGrant) error {
	waiting, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	if !s.grants.progress.wait(waiting, versionOf(created.ResourceVersion)) {
		s.doubt(created.Name)
		return fmt.Errorf("%w: the watch has not brought the grant", storage.ErrAmbiguous)
	}
	s.settled(created.Name)
	if s.dead(created.Name) {
		s.discard(ctx, created)
		return storage.ErrExists
	}
	s.keepPairBound(ctx, grantOf(created))
	return nil
}

// dead says whether a grant of this name was deleted while its code could still be redeemed.
func (s *Store) dead(name string) bool {
	now := s.config.Now()
	return s.grants.deleted(name, now) || s.marks.has(s.markName(markGrant, name), now)
}

// discard an object that must not be there. If that fails, it stays without effect, for its name is dead.
func (s *Store) discard(ctx context.Context, o *v1alpha1.OAuthGrant) {
	options := &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &o.UID}}
	if err := write(ctx, s.in(s.clients.public.Delete(), grantResource).Name(o.Name).Body(options), nil); err != nil {
		s.config.Log.WarnContext(ctx, "cannot delete what a redeemed code made again", "grant", o.Spec.ID, "error", err.Error())
	}
}

// keepPairBound ends the oldest live grants of the pair of g beyond the bound, but never g. If that fails, the next one does it.
func (s *Store) keepPairBound(ctx context.Context, g storage.Grant) {
	bound, _ := s.bounds()
	others := s.grants.liveOf(pair{g.UserUID, g.ClientUID}, s.config.Now(), g.ID)
	for len(others) >= bound {
		if err := s.end(ctx, others[0].ID, storage.EndBound); err != nil {
			s.config.Log.WarnContext(ctx, "cannot end the oldest grant of a user and client", "grant", others[0].ID, "error", err.Error())
			return
		}
		others = others[1:]
	}
}

// full says whether the server has as many live grants as it may have.
func (s *Store) full() bool {
	_, bound := s.bounds()
	return s.grants.notEnded() >= bound && s.grants.live(s.config.Now()) >= bound
}

// doubt that the creation of a grant stands.
func (s *Store) doubt(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uncertain[name] = s.config.Now()
}

func (s *Store) doubted(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.uncertain[name]
	return ok
}

func (s *Store) settled(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uncertain, name)
}

// forget what is not needed any more.
func (s *Store) forget(now time.Time) {
	s.grants.forget(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, since := range s.uncertain {
		if now.Sub(since) > codeMemory {
			delete(s.uncertain, name)
		}
	}
}

// preconditions of a deletion: only this object, and only as it was seen.
func preconditions(uid types.UID, resourceVersion string) *metav1.DeleteOptions {
	return &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &resourceVersion}}
}
