package kubernetes

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	// deletionRetryDelay is the delay before work that failed is done again.
	deletionRetryDelay = time.Second
	// followerDelay is how long a replica that does not sweep waits before it does the work. The
	// replica that sweeps has mostly done it by then.
	followerDelay = 300 * time.Millisecond
)

// deletionQueue holds the work that follows from the deletion of objects by people. Every replica
// observes a deletion and does the work, so it does not depend on any one; doing it twice is
// harmless.
type deletionQueue struct {
	mu sync.Mutex
	// withdrawals are the grants to end, by id.
	withdrawals map[string]withdrawal
	// marks are the names of the grants to write a mark for, and when it expires.
	marks map[string]time.Time
	ready chan struct{} // has capacity 1
}

// withdrawal is why a grant has to end: its consent is gone.
type withdrawal struct {
	pair pair
	// consentUID is the UID of the consent that the grant needs.
	consentUID string
	// isConfirmed is true if the watch has sent the deletion of the consent. Else the consent is
	// only missing in the cache and has to be read first.
	isConfirmed bool
}

func newDeletionQueue() *deletionQueue {
	return &deletionQueue{withdrawals: map[string]withdrawal{}, marks: map[string]time.Time{}, ready: make(chan struct{}, 1)}
}

// enqueueMark has a mark written for a grant that was deleted early, so that replicas that start
// later know that it existed.
func (q *deletionQueue) enqueueMark(name string, until time.Time) {
	q.mu.Lock()
	q.marks[name] = until
	q.mu.Unlock()
	q.notify()
}

// enqueueWithdrawal has a grant ended.
func (q *deletionQueue) enqueueWithdrawal(id string, w withdrawal) {
	q.mu.Lock()
	w.isConfirmed = w.isConfirmed || q.withdrawals[id].isConfirmed
	q.withdrawals[id] = w
	q.mu.Unlock()
	q.notify()
}

func (q *deletionQueue) notify() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// takeAll empties the queue.
func (q *deletionQueue) takeAll() (withdrawals map[string]withdrawal, marks map[string]time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	withdrawals, marks = q.withdrawals, q.marks
	q.withdrawals, q.marks = map[string]withdrawal{}, map[string]time.Time{}
	return withdrawals, marks
}

// handleConsentDeletion has all grants of a pair ended, except those that need a consent other than
// the one that was deleted. It ends void ones too: a lower tokensNotBefore would make them good again.
func (s *Store) handleConsentDeletion(p pair, uid types.UID) {
	now := s.config.Now()
	rests := func(g storage.Grant) bool {
		return g.IsLive(now) && (g.ConsentUID == "" || g.ConsentUID == string(uid))
	}
	for _, g := range s.grants.grantsOf(p, rests) {
		s.deletions.enqueueWithdrawal(g.ID, withdrawal{p, g.ConsentUID, true})
	}
}

// checkConsent enqueues a grant whose consent is not in the cache. The watch may not have sent the
// consent yet; or it was deleted, perhaps while no token server ran.
func (s *Store) checkConsent(g storage.Grant) {
	p := pair{g.UserUID, g.ClientUID}
	if g.Consented && !g.IsEnded() && s.isSynced() && !s.consents.has(p, types.UID(g.ConsentUID)) {
		s.deletions.enqueueWithdrawal(g.ID, withdrawal{p, g.ConsentUID, false})
	}
}

// checkConsents checks the consents of all grants.
func (s *Store) checkConsents() {
	if !s.isSynced() {
		return
	}
	for _, g := range s.grants.consentedGrants() {
		s.checkConsent(g)
	}
}

// processDeletions does the work in the queue until ctx ends.
func (s *Store) processDeletions(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.deletions.ready:
		}
		if !s.isLeader.Load() && !clock.Sleep(ctx, followerDelay) {
			return
		}
		withdrawals, marks := s.deletions.takeAll()
		failed := s.endWithdrawnGrants(ctx, withdrawals)
		for name, until := range marks {
			if err := s.SetMark(ctx, storage.Mark{Kind: deletedGrantMark, ID: name, ExpiresAt: until}); err != nil {
				failed = err
				s.deletions.enqueueMark(name, until)
			}
		}
		if failed != nil {
			s.config.Log.WarnContext(ctx, "cannot process the deletion of a grant or consent, trying again", "error", failed.Error())
			if !clock.Sleep(ctx, deletionRetryDelay) {
				return
			}
		}
	}
}

// endWithdrawnGrants ends grants, and enqueues again those that it cannot end now.
func (s *Store) endWithdrawnGrants(ctx context.Context, withdrawals map[string]withdrawal) (failed error) {
	consentUIDs := map[pair]string{}
	for id, w := range withdrawals {
		if g, ok := s.grants.get(s.grantName(id)); ok && g.IsEnded() {
			continue
		}
		if err := s.endWithdrawnGrant(ctx, id, w, consentUIDs); err != nil {
			failed = err
			s.deletions.enqueueWithdrawal(id, w)
		}
	}
	return failed
}

// endWithdrawnGrant ends a grant, unless its consent exists after all. consentUIDs caches the UIDs
// of the consents that were read, "" if there is none.
func (s *Store) endWithdrawnGrant(ctx context.Context, id string, w withdrawal, consentUIDs map[pair]string) error {
	if !w.isConfirmed && w.consentUID != "" {
		uid, known := consentUIDs[w.pair]
		if !known {
			consent, err := s.GetConsent(ctx, w.pair.user, w.pair.client)
			if err != nil && !errors.Is(err, storage.ErrNotFound) {
				return err
			}
			uid = consent.UID
			consentUIDs[w.pair] = uid
		}
		if uid == w.consentUID {
			return nil
		}
	}
	return s.endGrant(ctx, id, storage.EndConsentWithdrawn)
}
