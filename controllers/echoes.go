package controllers

import (
	"context"
	"slices"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// echoTimeout is how long an object whose last pass wrote something is not reconciled while the watch
// has not brought that back. It is hardly ever so long.
const echoTimeout = 500 * time.Millisecond

// echoes are what the passes over objects have written and the watch has not brought back yet. The
// pass knew what it wrote, so what the watch brings is no reason for another one. And until it has,
// the cache is older than what the pass did: a pass that another change causes meanwhile is
// postponed, since it would do the same again.
type echoes struct {
	now func() time.Time

	mu       sync.Mutex
	byObject map[reconciled]*writtenVersions
}

// reconciled is an object that is reconciled.
type reconciled struct {
	kind string
	name client.ObjectKey
}

// writtenVersions are the resourceVersions that a pass wrote.
type writtenVersions struct {
	isRunning bool     // the pass
	expected  []string // from the watch
	early     []string // what the watch brought while the pass was running, before the answer to a write or from others
	last      time.Time
	postponed bool // a pass
}

func newEchoes(now func() time.Time) *echoes {
	return &echoes{now: now, byObject: map[reconciled]*writtenVersions{}}
}

// postpone returns how long the next pass over an object is to be postponed; 0 if it can begin.
func (e *echoes) postpone(object reconciled) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.byObject[object]
	if w == nil {
		return 0
	}
	wait := w.last.Add(echoTimeout).Sub(e.now())
	w.postponed = wait > 0
	return wait
}

// begin says that a pass over an object begins, and returns the function that says that it ended.
func (e *echoes) begin(object reconciled) (end func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := &writtenVersions{isRunning: true}
	e.byObject[object] = w
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if w.isRunning, w.early = false, nil; len(w.expected) == 0 {
			delete(e.byObject, object)
		}
	}
}

// add records a resourceVersion that the pass over an object wrote.
func (e *echoes) add(object reconciled, version string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w := e.byObject[object]; w != nil && !slices.Contains(w.early, version) {
		w.expected, w.last = append(w.expected, version), e.now()
	}
}

// take reports whether a resourceVersion that the watch brings is what a pass over an object wrote,
// and no reason for another one.
func (e *echoes) take(object reconciled, version string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.byObject[object]
	if w == nil {
		return false
	}
	i := slices.Index(w.expected, version)
	if i < 0 {
		if w.isRunning {
			w.early = append(w.early, version)
		}
		return false
	}
	if w.expected = slices.Delete(w.expected, i, i+1); len(w.expected) > 0 || w.isRunning {
		return true
	}
	delete(e.byObject, object)
	return !w.postponed
}

// onForeignStatus passes what happens to the objects of a kind except that the last pass over one has
// written its status.
func (op *operator) onForeignStatus(kind string) predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetResourceVersion() == e.ObjectNew.GetResourceVersion() || !op.isEcho(kind, e.ObjectNew)
	}}
}

// onForeignChange is onRealChange for the Entries of the objects of a kind, except that it does not
// pass what the last pass over the owner has written.
func (op *operator) onForeignChange(kind string) predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList && !op.isEcho(kind, e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion() && !op.isEcho(kind, e.ObjectNew)
		},
	}
}

// objectOf returns the object to whose pass a write of an object belongs: the owner of an Entry, the
// OAuthClient of a Secret or ConfigMap.
func objectOf(written client.Object) reconciled {
	switch o := written.(type) {
	case *internalv1alpha1.Entry:
		return reconciled{o.Spec.Owner.Kind, client.ObjectKey{Namespace: o.Spec.Owner.Namespace, Name: o.Spec.Owner.Name}}
	case *v1alpha1.OAuthClient, *v1alpha1.OAuthUser:
		return reconciled{compile.OwnerOf(o).Kind, client.ObjectKeyFromObject(o)}
	}
	if owner := compile.OAuthClientOf(written); owner != nil {
		return reconciled{owner.Kind, client.ObjectKey{Namespace: owner.Namespace, Name: owner.Name}}
	}
	return reconciled{}
}

// isEcho reports whether what the watch brings is what the last pass over the object to which it
// belongs wrote, if that is of a kind.
func (op *operator) isEcho(kind string, seen client.Object) bool {
	object := objectOf(seen)
	return object.kind == kind && op.writer.echoes.take(object, seen.GetResourceVersion())
}

// enqueueReferrers enqueues the OAuthClients to which users maps a Secret or ConfigMap, except the
// client to which it belongs if that wrote it.
func (op *operator) enqueueReferrers(users mapFunc) handler.EventHandler {
	all := enqueueRequestsFor(users)
	others := enqueueRequestsFor(func(ctx context.Context, changed client.Object) []client.ObjectKey {
		return slices.DeleteFunc(users(ctx, changed), func(key client.ObjectKey) bool { return key == objectOf(changed).name })
	})
	pick := func(object client.Object) handler.EventHandler {
		if op.isEcho(compile.KindClient, object) {
			return others
		}
		return all
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q requestQueue) { pick(e.Object).Create(ctx, e, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q requestQueue) { pick(e.ObjectNew).Update(ctx, e, q) },
		DeleteFunc: all.Delete,
	}
}
