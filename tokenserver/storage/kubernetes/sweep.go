package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	// listInterval is how often the sweep lists all objects of the namespace. In between it uses
	// the caches, which costs the API server nothing. The list finds objects that the watches do
	// not send because their labels were removed.
	listInterval = time.Hour
	// deleteConcurrency is how many objects are deleted at a time.
	deleteConcurrency = 4

	// reasonGrantsNearBound is the reason of the event near the bound on grants.
	reasonGrantsNearBound = "GrantsNearBound"
	// warnInterval is how often that event is written at most.
	warnInterval = time.Hour
)

// expiredObject is an object that can be deleted, as it was when it had expired.
type expiredObject struct {
	resource, name string
	uid            types.UID
	version        string
}

// Sweep implements storage.Store. Of several replicas only the one that holds the lease sweeps. An
// object that has changed since it was found to be expired is kept.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
	s.forgetOldCodes(now)
	if problem := s.Problem(); problem != "" {
		return 0, fmt.Errorf("%w: %s", storage.ErrUnavailable, problem)
	}
	leads, err := s.acquireLease(ctx)
	if err != nil || !leads {
		return 0, err
	}
	removed, err := s.deleteExpired(ctx, slices.Concat(s.grants.expiredObjects(now), s.idleIdentities(now), s.marks.expiredObjects(now)))
	if err != nil {
		return removed, err
	}
	if now.Sub(s.lastListed).Abs() >= listInterval {
		more, err := s.sweepLists(ctx, now)
		removed += more
		if err != nil {
			return removed, err
		}
		s.lastListed = now
	}
	s.checkConsents()
	s.warnNearBound(ctx)
	return removed, nil
}

// sweepLists lists all grants and marks of the namespace, and deletes those that have expired.
func (s *Store) sweepLists(ctx context.Context, now time.Time) (removed int, err error) {
	for _, listExpired := range []func(ctx context.Context, now time.Time, next string) ([]expiredObject, string, error){
		s.listExpiredGrants, s.listExpiredMarks,
	} {
		for next, first := "", true; first || next != ""; first = false {
			var expired []expiredObject
			if expired, next, err = listExpired(ctx, now, next); err != nil {
				return removed, err
			}
			more, err := s.deleteExpired(ctx, expired)
			removed += more
			if err != nil {
				return removed, err
			}
		}
	}
	return removed, nil
}

// listExpiredGrants lists one page of grants. It returns the token of the page after it, "" if that
// was the last.
func (s *Store) listExpiredGrants(ctx context.Context, now time.Time, next string) (expired []expiredObject, following string, err error) {
	page := &v1alpha1.OAuthGrantList{}
	err = read(ctx, s.listRequest(grantResource, next), page)
	for i := range page.Items {
		if o := &page.Items[i]; string(o.Spec.ServerUID) == s.config.ServerUID && !now.Before(o.Spec.ExpiresAt.Time) {
			expired = append(expired, expiredObject{grantResource, o.Name, o.UID, o.ResourceVersion})
		}
	}
	return expired, page.Continue, listError(err)
}

// listExpiredMarks lists one page of marks, as listExpiredGrants does of grants.
func (s *Store) listExpiredMarks(ctx context.Context, now time.Time, next string) (expired []expiredObject, following string, err error) {
	page := &internalv1alpha1.MarkList{}
	err = read(ctx, s.listRequest(markResource, next), page)
	for i := range page.Items {
		if o := &page.Items[i]; string(o.Spec.ServerUID) == s.config.ServerUID && !now.Before(o.Spec.ExpiresAt.Time) {
			expired = append(expired, expiredObject{markResource, o.Name, o.UID, o.ResourceVersion})
		}
	}
	return expired, page.Continue, listError(err)
}

// deleteExpired deletes objects, a page at a time, while this replica holds the lease.
func (s *Store) deleteExpired(ctx context.Context, expired []expiredObject) (removed int, err error) {
	for page := range slices.Chunk(expired, pageSize) {
		leads, err := s.acquireLease(ctx)
		if err != nil || !leads {
			return removed, err
		}
		var count atomic.Int64
		var running sync.WaitGroup
		var failed atomic.Pointer[error]
		work := make(chan expiredObject)
		for range deleteConcurrency {
			running.Go(func() {
				for o := range work {
					switch deleted, err := s.deleteExpiredObject(ctx, o); {
					case err != nil:
						failed.Store(&err)
					case deleted:
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

// deleteExpiredObject reports whether it has deleted an object. It has not if the object does not
// exist any more or has changed, which is no error.
func (s *Store) deleteExpiredObject(ctx context.Context, o expiredObject) (bool, error) {
	if o.resource == grantResource {
		s.grants.beginSweep(o.name)
	}
	err := s.deleteObject(ctx, o.resource, o.name, &metav1.Preconditions{UID: &o.uid, ResourceVersion: &o.version})
	if err != nil && o.resource == grantResource {
		s.grants.cancelSweep(o.name)
	}
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

// warnNearBound writes an event about the AuthorizationServer when it has nine tenths of the grants
// that it may have.
func (s *Store) warnNearBound(ctx context.Context) {
	_, bound := s.bounds()
	now := s.config.Now()
	live := s.grants.countLive(now)
	if live < bound-bound/10 || now.Sub(s.lastWarned) < warnInterval {
		return
	}
	event := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.config.Namespace, GenerateName: s.config.ServerName + "-"},
		EventTime:  metav1.NewMicroTime(now.UTC()), Type: corev1.EventTypeWarning, Reason: reasonGrantsNearBound, Action: "CountGrants",
		ReportingController: "oauth-operator.dev/tokenserver", ReportingInstance: s.config.ReplicaName,
		Regarding: corev1.ObjectReference{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "AuthorizationServer",
			Namespace: s.config.Namespace, Name: s.config.ServerName, UID: types.UID(s.config.ServerUID),
		},
		Note: fmt.Sprintf("%d of at most %d grants are live. At the maximum the token server answers 503 to requests for a code or password grant. "+
			"Delete OAuthGrants that are not needed, or set shorter lifetimes in spec.tokens.refreshToken.", live, bound),
	}
	if err := write(ctx, s.request(http.MethodPost, eventResource).Body(event), nil); err != nil {
		s.config.Log.WarnContext(ctx, "cannot write the event GrantsNearBound", "error", err.Error())
		return
	}
	s.lastWarned = now
}
