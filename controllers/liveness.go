package controllers

import (
	"context"
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// livenessTracker records when the manager saw Replicas and Usages change. How long ago that was
// decides whether a token server is live: the times in the objects are those of another clock.
type livenessTracker struct {
	now func() time.Time

	mu         sync.Mutex
	lastChange map[types.UID]observedChange
	// latest is when any object was last seen to change. outage is the last period in which none
	// was for as long as a replica is live: the API server was away, or no token server ran.
	latest time.Time
	outage struct{ from, until time.Time }
}

// observedChange is the last change of one object.
type observedChange struct {
	resourceVersion string
	at              time.Time
	// changed is false if the object existed when it was first seen, and has not changed since.
	changed bool
	// revived is the resourceVersion with which the object last changed after it had not for as long as
	// a replica is live, or had not at all, or with which it was first seen.
	revived string
}

func newLivenessTracker(now func() time.Time) *livenessTracker {
	return &livenessTracker{now: now, lastChange: map[types.UID]observedChange{}, latest: now()}
}

// watch observes every change of the kinds as it comes.
func (t *livenessTracker) watch(ctx context.Context, caches cache.Cache, kinds ...client.Object) error {
	for _, kind := range kinds {
		informer, err := caches.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err != nil {
			return err
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerDetailedFuncs{
			AddFunc: func(o any, isInInitialList bool) {
				if object, ok := o.(client.Object); ok {
					t.observeObject(object, !isInInitialList)
				}
			},
			UpdateFunc: func(_, o any) {
				if object, ok := o.(client.Object); ok {
					t.observe(object)
				}
			},
			DeleteFunc: func(o any) {
				if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
					o = last.Obj
				}
				if object, ok := o.(client.Object); ok {
					t.forget(object.GetUID())
				}
			},
		}); err != nil {
			return err
		}
	}
	return nil
}

// observe returns the last change of an object. If the object has a newer resourceVersion than was
// seen before, it changes now; the cache may still have the older one.
func (t *livenessTracker) observe(o metav1.Object) observedChange { return t.observeObject(o, false) }

// observeObject is observe for an object that, if it was not known, was created now.
func (t *livenessTracker) observeObject(o metav1.Object, created bool) observedChange {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	last, known := t.lastChange[o.GetUID()]
	switch {
	case !known:
		last = observedChange{resourceVersion: o.GetResourceVersion(), at: now, changed: created, revived: o.GetResourceVersion()}
		if created {
			t.recordChange(now)
		}
	case isNewer(o.GetResourceVersion(), last.resourceVersion):
		if now.Sub(last.at) >= replicaLifetime || !last.changed {
			last.revived = o.GetResourceVersion()
		}
		last.resourceVersion, last.at, last.changed = o.GetResourceVersion(), now, true
		t.recordChange(now)
	case created:
		last.changed = true // a reconciler saw it first
	}
	t.lastChange[o.GetUID()] = last
	return last
}

// hasRevived reports whether an object was not live in the version before, or not known to be, and is
// after.
func (t *livenessTracker) hasRevived(before, after metav1.Object) bool {
	revived := t.observe(after).revived
	return isNewer(revived, before.GetResourceVersion()) && !isNewer(revived, after.GetResourceVersion())
}

func (t *livenessTracker) recordChange(now time.Time) {
	if now.Sub(t.latest) >= replicaLifetime {
		t.outage.from, t.outage.until = t.latest, now
	}
	t.latest = now
}

// liveUntil returns when a replica stops being live unless it changes before, and whether it was
// seen to change since the last outage. After an outage each replica that was live before has a
// whole lifetime again: of those that could not reach the API server, one is back before the
// others.
func (t *livenessTracker) liveUntil(last observedChange) (until time.Time, renewed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last.at.Before(t.outage.until) && last.at.Add(replicaLifetime).After(t.outage.from) {
		return t.outage.until.Add(replicaLifetime), false
	}
	return last.at.Add(replicaLifetime), last.changed
}

func (t *livenessTracker) forget(uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.lastChange, uid)
}

// isNewer compares resourceVersions as the numbers that they are.
func isNewer(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	if errX != nil || errY != nil {
		return a != b
	}
	return x > y
}
