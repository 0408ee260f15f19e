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

// sightings remember when the manager saw objects change. How long ago that was is the one measure
// by which a token server is live: the times that it writes are those of another clock.
type sightings struct {
	now func() time.Time

	mu    sync.Mutex
	byUID map[types.UID]sighting
	// last is when anything was seen to change, and silence the last time that nothing was for as
	// long as a replica is live. The API server was away, or no token server ran.
	last    time.Time
	silence struct{ from, until time.Time }
}

// sighting is the last change of one object.
type sighting struct {
	version string
	at      time.Time
	// changed: it was seen to change or to be created, and not only found.
	changed bool
	// revived is when it last changed after it had not for as long as a replica is live, or was
	// found.
	revived time.Time
}

func newSightings(now func() time.Time) *sightings {
	return &sightings{now: now, byUID: map[types.UID]sighting{}, last: now()}
}

// follow has every change of the kinds seen as it comes.
func (s *sightings) follow(ctx context.Context, caches cache.Cache, kinds ...client.Object) error {
	for _, kind := range kinds {
		informer, err := caches.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err != nil {
			return err
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerDetailedFuncs{
			AddFunc: func(o any, isInInitialList bool) {
				if object, ok := o.(client.Object); ok {
					s.note(object, !isInInitialList)
				}
			},
			UpdateFunc: func(_, o any) {
				if object, ok := o.(client.Object); ok {
					s.see(object)
				}
			},
			DeleteFunc: func(o any) {
				if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
					o = last.Obj
				}
				if object, ok := o.(client.Object); ok {
					s.forget(object.GetUID())
				}
			},
		}); err != nil {
			return err
		}
	}
	return nil
}

// see returns the last change of an object. A version that is newer than the one seen before is a
// change that comes to pass now; the cache may still have the older one.
func (s *sightings) see(o metav1.Object) sighting { return s.note(o, false) }

// note is see, for an object that was created now if it was not known.
func (s *sightings) note(o metav1.Object, created bool) sighting {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	last, known := s.byUID[o.GetUID()]
	switch {
	case !known:
		last = sighting{version: o.GetResourceVersion(), at: now, changed: created, revived: now}
		if created {
			s.heard(now)
		}
	case newer(o.GetResourceVersion(), last.version):
		if now.Sub(last.at) >= liveFor {
			last.revived = now
		}
		last.version, last.at, last.changed = o.GetResourceVersion(), now, true
		s.heard(now)
	case created:
		last.changed = true // a reconciler saw it first
	}
	s.byUID[o.GetUID()] = last
	return last
}

// heard notes that something was seen to change.
func (s *sightings) heard(now time.Time) {
	if now.Sub(s.last) >= liveFor {
		s.silence.from, s.silence.until = s.last, now
	}
	s.last = now
}

// lives says until when a replica is live that was seen, unless it changes before, and whether it
// was seen to change since nothing could be seen of it. After a silence each that was live before
// has as long as it had then: of those that could not reach the API server, one is back before the
// others.
func (s *sightings) lives(seen sighting) (until time.Time, renewed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seen.at.Before(s.silence.until) && seen.at.Add(liveFor).After(s.silence.from) {
		return s.silence.until.Add(liveFor), false
	}
	return seen.at.Add(liveFor), seen.changed
}

func (s *sightings) forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byUID, uid)
}

// newer compares resourceVersions as the numbers that they are.
func newer(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	if errX != nil || errY != nil {
		return a != b
	}
	return x > y
}
