package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// How long a write that the API server has refused is not tried again: the first time, doubled each
// time after, and at most. A quota that is raised is noticed within the time that it was too small.
const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
)

// writeError is an API request that was to change an object and failed.
type writeError struct {
	verb, kind, namespace, name string
	err                         error
	// retryAt is when the request is made again, if the API server refused it. Until then it fails
	// without being made.
	retryAt time.Time
}

// Error implements error.
func (e *writeError) Error() string {
	return fmt.Sprintf("%s %s %s: %v", e.verb, e.kind, e.name, e.err)
}

// Unwrap gives the API server's answer.
func (e *writeError) Unwrap() error { return e.err }

// writer is the client by which reconcilers write. What the API server refused (a quota, an
// admission policy) it does not ask again before the time has come, whatever wakes the reconciler
// meanwhile; unless the object that the reconciler looks at was edited, or the one that is written.
type writer struct {
	client.Client
	now func() time.Time

	mu      sync.Mutex
	refused map[request]*refusedWrite
}

// request names a write, and the object on whose behalf it is made: others that make it as well do
// not have it forgotten.
type request struct {
	cause types.UID
	verb  string
	kind  string
	name  types.NamespacedName
}

// refusedWrite is the API server's answer, and what it was about.
type refusedWrite struct {
	generation int64  // of the cause
	version    string // of the object that was to be written
	err        error
	tries      int
	retryAt    time.Time
}

// cause is the object on whose behalf a reconciler writes, and its generation.
type cause struct {
	uid        types.UID
	generation int64
}

type causeKey struct{}

// onBehalfOf tells a writer which object a reconciler looks at.
func withCause(ctx context.Context, object metav1.Object) context.Context {
	return context.WithValue(ctx, causeKey{}, cause{object.GetUID(), object.GetGeneration()})
}

func newWriter(c client.Client, now func() time.Time) *writer {
	return &writer{Client: c, now: now, refused: map[request]*refusedWrite{}}
}

// Create implements client.Writer.
func (w *writer) Create(ctx context.Context, object client.Object, options ...client.CreateOption) error {
	o := (&client.CreateOptions{}).ApplyOptions(options)
	return w.do(ctx, "creating", len(o.DryRun) > 0, object, func() error { return w.Client.Create(ctx, object, options...) })
}

// Update implements client.Writer.
func (w *writer) Update(ctx context.Context, object client.Object, options ...client.UpdateOption) error {
	o := (&client.UpdateOptions{}).ApplyOptions(options)
	return w.do(ctx, "updating", len(o.DryRun) > 0, object, func() error { return w.Client.Update(ctx, object, options...) })
}

// Patch implements client.Writer.
func (w *writer) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	return w.do(ctx, "patching", false, object, func() error { return w.Client.Patch(ctx, object, patch, options...) })
}

// Delete implements client.Writer.
func (w *writer) Delete(ctx context.Context, object client.Object, options ...client.DeleteOption) error {
	return w.do(ctx, "deleting", false, object, func() error { return w.Client.Delete(ctx, object, options...) })
}

// applyObject owns the fields that object has, whichever field manager had them before (server-side
// apply). If object has a resourceVersion, it is applied onto that version only; afterwards it has
// the new one, and the UID.
func (w *writer) applyObject(ctx context.Context, object client.Object, options ...client.ApplyOption) error {
	gvk, err := apiutil.GVKForObject(object, w.Scheme())
	if err != nil {
		return err
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return err
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(gvk)
	u.SetCreationTimestamp(metav1.Time{}) // which leaves it out: it is no field to apply
	o := (&client.ApplyOptions{}).ApplyOptions(options)
	return w.do(ctx, "applying", len(o.DryRun) > 0, object, func() error {
		options = append(options, client.FieldOwner(FieldManager), client.ForceOwnership)
		if err := w.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), options...); err != nil {
			return err
		}
		object.SetUID(u.GetUID())
		object.SetResourceVersion(u.GetResourceVersion())
		return nil
	})
}

// do makes a request, unless it was refused a moment ago.
func (w *writer) do(ctx context.Context, verb string, dryRun bool, object client.Object, ask func() error) error {
	gvk, err := apiutil.GVKForObject(object, w.Scheme())
	if err != nil {
		return err
	}
	failed := &writeError{verb: verb, kind: gvk.Kind, namespace: object.GetNamespace(), name: object.GetName()}
	if dryRun {
		verb += " (dry run)"
	}
	about, _ := ctx.Value(causeKey{}).(cause)
	key := request{about.uid, verb, gvk.Kind, types.NamespacedName{Namespace: failed.namespace, Name: failed.name}}
	version := object.GetResourceVersion()
	if failed.retryAt, failed.err = w.refusedBefore(key, about.generation, version); failed.err != nil {
		return failed
	}
	failed.err = ask()
	failed.retryAt = w.remember(key, about.generation, version, failed.err)
	if failed.err == nil {
		return nil
	}
	return failed
}

// refusedBefore is the answer that a request had, if it is not yet time to make it again.
func (w *writer) refusedBefore(key request, generation int64, version string) (time.Time, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.refused[key]
	if r == nil || r.generation != generation || r.version != version || !w.now().Before(r.retryAt) {
		return time.Time{}, nil
	}
	return r.retryAt, r.err
}

// remember keeps what became of a request, if it was refused, and says when to make it again.
func (w *writer) remember(key request, generation int64, version string, err error) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !isRefusal(err) {
		if err == nil {
			delete(w.refused, key)
		}
		return time.Time{}
	}
	now := w.now()
	r := w.refused[key]
	if r == nil || r.generation != generation || r.version != version {
		r = &refusedWrite{generation: generation, version: version}
		w.forgetOld(now)
		w.refused[key] = r
	}
	r.err = err
	r.retryAt = now.Add(min(firstRetry<<min(r.tries, 16), lastRetry))
	r.tries++
	return r.retryAt
}

// forgetOld drops the refusals that are not asked for any more, of objects that were deleted.
func (w *writer) forgetOld(now time.Time) {
	for key, r := range w.refused {
		if now.Sub(r.retryAt) > lastRetry {
			delete(w.refused, key)
		}
	}
}

// refused reports whether the API server has answered, and by its own decision or that of an
// admission plugin did not do what it was asked. An answer that says to look again, or to come back
// later, is none.
func isRefusal(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	switch code := status.Status().Code; code {
	case 401, 404, 408, 409, 410, 429:
		return false
	default:
		return code >= 400 && code <= 500 // 500 is also the answer when an admission webhook does not answer
	}
}
