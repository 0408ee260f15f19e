// Package sweep deletes the Entries whose owners do not exist any more.
//
//	sweep.go      when it looks, and what it deletes
//	candidates.go finds the Entries whose owners are not in the cache
package sweep

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/names"
)

// A sweep is large if it would delete more than largeSweepEntries and more than one in
// largeSweepShare (5 %) of a server's Entries. A cluster that lost so many objects between two
// sweeps may be one that is being restored, or an API server that does not have them yet.
const (
	largeSweepEntries = 10
	largeSweepShare   = 20
)

// RetryInterval is how soon a sweep that failed is repeated.
const RetryInterval = time.Minute

// ReasonLargeSweep is the reason of the event that announces a large sweep.
const ReasonLargeSweep = "LargeSweep"

const eventAction = "Sweep"

// Sweeper deletes the Entries whose owners do not exist any more. Reconcilers delete them as soon
// as they see the owner go; the Sweeper finds the ones whose owner went while no manager ran. The
// Entries of an AuthorizationServer that is gone are the garbage collector's, unless it was told to
// leave them behind (kubectl delete --cascade=orphan): then they name no owner that it could look
// for. Of these the reconciler deletes the server's document, and the Sweeper the rest.
//
// The cache says where to look. An Entry is deleted after the API server has said that its owner is
// gone, and only in the version that was looked at. Any other answer ends the sweep, and what was
// announced has to be announced again.
type Sweeper struct {
	Entries *names.Entries
	// Cache reads the Entries and all kinds of owners.
	Cache  client.Reader
	Events events.EventRecorder
	Now    func() time.Time

	// Interval is the time between two sweeps. The first one is when the Sweeper starts.
	Interval time.Duration
	// Wait is the time from the announcement of a large sweep until it deletes Entries.
	Wait time.Duration

	announced map[types.UID]*largeSweep // by server
}

// largeSweep is a large sweep that was announced.
type largeSweep struct {
	deletesAt time.Time
	entries   map[types.UID]bool
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: one manager sweeps.
func (s *Sweeper) NeedLeaderElection() bool { return true }

// Start sweeps until the context ends.
func (s *Sweeper) Start(ctx context.Context) error {
	for {
		next, err := s.Sweep(ctx)
		if err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Error(err, "Cannot find out which Entries have no owner; no more are deleted until the next sweep", "next", next)
		}
		timer := time.NewTimer(max(next.Sub(s.Now()), time.Second))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// Sweep sweeps once, and returns when the next sweep is due.
func (s *Sweeper) Sweep(ctx context.Context) (next time.Time, err error) {
	next = s.Now().Add(s.Interval)
	defer func() {
		if err != nil { // an API server that cannot answer now may have answered wrongly before
			s.announced = nil
			next = earlier(next, s.Now().Add(RetryInterval))
		}
	}()
	servers, err := s.findCandidates(ctx)
	if err != nil {
		return next, err
	}
	announced := map[types.UID]*largeSweep{}
	for i := range servers {
		waiting, err := s.sweepServer(ctx, &servers[i])
		if err != nil {
			return next, err
		}
		if waiting != nil {
			announced[servers[i].uid] = waiting
			next = earlier(next, waiting.deletesAt)
		}
	}
	s.announced = announced
	return next, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// sweepServer deletes the candidates of a server whose owner is gone. It returns a large sweep that
// waits.
func (s *Sweeper) sweepServer(ctx context.Context, c *candidates) (*largeSweep, error) {
	orphans, err := s.confirmOrphans(ctx, c)
	if err != nil {
		return nil, err
	}
	before := s.announced[c.uid]
	deletable, waiting := decide(c.total, orphans, before, s.Now(), s.Wait)
	if waiting != nil && waiting != before {
		s.Events.Eventf(c.regarding, nil, corev1.EventTypeWarning, ReasonLargeSweep, eventAction,
			"%d of %d documents belong to objects that do not exist any more. They will be deleted at %s, unless the API server has the objects again by then.",
			len(orphans), c.total, waiting.deletesAt.UTC().Format(time.RFC3339))
	}
	for _, e := range deletable {
		if err := s.Entries.Delete(ctx, e); err != nil && !apierrors.IsConflict(err) { // a conflict: another object has the name now
			return nil, err
		}
	}
	return waiting, nil
}

// decide returns which of the orphans are deleted now, and a large sweep that waits. After the wait
// no Entries are deleted but those that were announced.
func decide(
	total int, orphans []*internalv1alpha1.Entry, announced *largeSweep, now time.Time, wait time.Duration,
) (deletable []*internalv1alpha1.Entry, waiting *largeSweep) {
	if len(orphans) <= largeSweepEntries || len(orphans)*largeSweepShare <= total {
		return orphans, nil
	}
	if announced == nil {
		announced = &largeSweep{deletesAt: now.Add(wait), entries: map[types.UID]bool{}}
		for _, e := range orphans {
			announced.entries[e.UID] = true
		}
		return nil, announced
	}
	if now.Before(announced.deletesAt) {
		return nil, announced
	}
	for _, e := range orphans {
		if announced.entries[e.UID] {
			deletable = append(deletable, e)
		}
	}
	return deletable, nil
}

// confirmOrphans returns the candidates whose owner is gone according to the API server.
func (s *Sweeper) confirmOrphans(ctx context.Context, c *candidates) ([]*internalv1alpha1.Entry, error) {
	if c.leftBehind {
		if gone, err := s.Entries.IsServerGone(ctx, c.namespace, c.uid); err != nil || !gone {
			return nil, err
		}
		return c.entries, nil
	}
	gone := map[types.UID]bool{}
	var orphans []*internalv1alpha1.Entry
	for _, e := range c.entries {
		owner := e.Spec.Owner
		if _, asked := gone[owner.UID]; !asked { // a ResourceServer has an Entry for each scope
			var err error
			if gone[owner.UID], err = s.Entries.IsOwnerGone(ctx, owner); err != nil {
				return nil, err
			}
		}
		if gone[owner.UID] {
			orphans = append(orphans, e)
		}
	}
	return orphans, nil
}
