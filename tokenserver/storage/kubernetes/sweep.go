package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	servedv1alpha1 "github.com/oauth-operator/oauth-operator/api/served/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	// listEvery is how often the sweep reads all objects of the namespace, page by page. In between it goes by what the watches brought, which
	// costs the API server nothing; the list finds what the watches do not bring because somebody took its label away.
	listEvery = time.Hour
	// deleters is how many objects are deleted at a time.
	deleters = 4
)

// expired is an object that can be deleted.
type expired struct {
	resource, name string
	uid            types.UID
	version        string
}

// Sweep implements storage.Store. Of several replicas one sweeps; for the others there is nothing to do. What was changed since it was seen to
// have expired stays.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	s.forget(now)
	if problem := s.Problem(); problem != "" {
		return 0, fmt.Errorf("%w: %s", storage.ErrUnavailable, problem)
	}
	leads, err := s.lead(ctx)
	if err != nil || !leads {
		return 0, err
	}
	removed, err := s.removeAll(ctx, slices.Concat(s.grants.expired(now), s.marks.expired(now)))
	if err != nil {
		return removed, err
	}
	if now.Sub(s.readAll).Abs() >= listEvery {
		more, err := s.sweepLists(ctx, now)
		removed += more
		if err != nil {
			return removed, err
		}
		s.readAll = now
	}
	s.checkConsents()
	s.warnNearBound(ctx)
	return removed, nil
}

// sweepLists removes what has expired from lists of all there is.
func (s *Store) sweepLists(ctx context.Context, now time.Time) (removed int, err error) {
	server := types.UID(s.config.ServerUID)
	for _, kind := range []struct {
		resource string
		page     func(r *rest.Request) (due []expired, next string, err error)
	}{
		{grantResource, func(r *rest.Request) (due []expired, next string, err error) {
			page := &v1alpha1.OAuthGrantList{}
			err = read(ctx, r, page)
			for i := range page.Items {
				if o := &page.Items[i]; o.Spec.ServerUID == server && !now.Before(o.Spec.ExpiresAt.Time) {
					due = append(due, expired{grantResource, o.Name, o.UID, o.ResourceVersion})
				}
			}
			return due, page.Continue, listError(err)
		}},
		{markResource, func(r *rest.Request) (due []expired, next string, err error) {
			page := &servedv1alpha1.MarkList{}
			err = read(ctx, r, page)
			for i := range page.Items {
				if o := &page.Items[i]; o.Spec.ServerUID == server && !now.Before(o.Spec.ExpiresAt.Time) {
					due = append(due, expired{markResource, o.Name, o.UID, o.ResourceVersion})
				}
			}
			return due, page.Continue, listError(err)
		}},
	} {
		for next, first := "", true; first || next != ""; first = false {
			var due []expired
			due, next, err = kind.page(list(s.in(s.clientOf(kind.resource).Get(), kind.resource), "", next))
			if err != nil {
				return removed, err
			}
			more, err := s.removeAll(ctx, due)
			removed += more
			if err != nil {
				return removed, err
			}
		}
	}
	return removed, nil
}

func (s *Store) clientOf(resource string) rest.Interface {
	if resource == markResource {
		return s.clients.internal
	}
	return s.clients.public
}

// removeAll deletes objects, a page at a time, for as long as this replica is the one that sweeps.
func (s *Store) removeAll(ctx context.Context, due []expired) (removed int, err error) {
	for page := range slices.Chunk(due, pageSize) {
		leads, err := s.lead(ctx)
		if err != nil || !leads {
			return removed, err
		}
		var count atomic.Int64
		var running sync.WaitGroup
		var failed atomic.Pointer[error]
		work := make(chan expired)
		for range deleters {
			running.Go(func() {
				for o := range work {
					switch gone, err := s.remove(ctx, o); {
					case err != nil:
						failed.Store(&err)
					case gone:
						count.Add(1)
					}
				}
			})
		}
		for _, o := range page {
			if failed.Load() != nil {
				break
			}
			work <- o
		}
		close(work)
		running.Wait()
		removed += int(count.Load())
		if err := failed.Load(); err != nil {
			return removed, *err
		}
	}
	return removed, nil
}

// remove one object. It is no error if it is gone, or has changed.
func (s *Store) remove(ctx context.Context, o expired) (bool, error) {
	if o.resource == grantResource {
		s.grants.sweeping(o.name)
	}
	err := write(ctx, s.in(s.clientOf(o.resource).Delete(), o.resource).Name(o.name).Body(preconditions(o.uid, o.version)), nil)
	if err != nil && o.resource == grantResource {
		s.grants.kept(o.name)
	}
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

const (
	// eventNearBound is the reason of the event.
	eventNearBound = "GrantsNearBound"
	// warnEvery is how often it is written, at most.
	warnEvery = time.Hour
)

// warnNearBound writes an event about the AuthorizationServer when nine tenths of its grants are taken.
func (s *Store) warnNearBound(ctx context.Context) {
	_, bound := s.bounds()
	now := s.config.Now()
	live := s.grants.live(now)
	if live < bound-bound/10 || now.Sub(s.warned) < warnEvery {
		return
	}
	event := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.config.Namespace, GenerateName: s.config.ServerName + "-"},
		EventTime:  metav1.NewMicroTime(now.UTC()), Type: corev1.EventTypeWarning, Reason: eventNearBound, Action: "CountGrants",
		ReportingController: "oauth-operator.dev/tokenserver", ReportingInstance: s.config.ReplicaName,
		Regarding: corev1.ObjectReference{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "AuthorizationServer",
			Namespace: s.config.Namespace, Name: s.config.ServerName, UID: types.UID(s.config.ServerUID),
		},
		Note: fmt.Sprintf("%d of at most %d grants are live; when all are taken, code and password requests are answered 503", live, bound),
	}
	if err := write(ctx, s.in(s.clients.events.Post(), eventResource).Body(event), nil); err != nil {
		s.config.Log.WarnContext(ctx, "cannot write an event", "error", err.Error())
		return
	}
	s.warned = now
}
