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

// How long a write that the API server has refused is not repeated: the first time, doubled each
// time after that, and at most.
const (
	minRetryInterval = time.Second
	maxRetryInterval = 5 * time.Minute
)

// writeError is the error of a write to the API server.
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

// Unwrap returns the answer of the API server.
func (e *writeError) Unwrap() error { return e.err }

// writer is the client with which reconcilers write. It does not repeat a write that the API server
// has refused (because of a quota or an admission policy) before its time, whatever causes a pass
// meanwhile, unless the object that is reconciled or the one that is written has changed.
type writer struct {
	client.Client
	now func() time.Time

	echoes *echoes

	mu      sync.Mutex
	refused map[request]*refusedWrite
}

// request is a write, and the object that is reconciled: another object that makes the same write
// does not reset its retries.
type request struct {
	cause types.UID
	verb  string
	kind  string
	name  types.NamespacedName
}

// refusedWrite is a refusal by the API server.
type refusedWrite struct {
	generation int64  // of the cause
	version    string // of the object that was to be written
	err        error
	tries      int
	retryAt    time.Time
}

// cause is the object that is reconciled, and its generation.
type cause struct {
	uid        types.UID
	generation int64
}

type causeKey struct{}

// withCause tells a writer which object is reconciled.
func withCause(ctx context.Context, object metav1.Object) context.Context {
	return context.WithValue(ctx, causeKey{}, cause{object.GetUID(), object.GetGeneration()})
}

func newWriter(c client.Client, now func() time.Time) *writer {
	return &writer{Client: c, now: now, echoes: newEchoes(now), refused: map[request]*refusedWrite{}}
}

// Create implements client.Writer.
func (w *writer) Create(ctx context.Context, object client.Object, options ...client.CreateOption) error {
	o := (&client.CreateOptions{}).ApplyOptions(options)
	return w.send(ctx, "creating", len(o.DryRun) > 0, object, func() error { return w.Client.Create(ctx, object, options...) })
}

// Update implements client.Writer.
func (w *writer) Update(ctx context.Context, object client.Object, options ...client.UpdateOption) error {
	o := (&client.UpdateOptions{}).ApplyOptions(options)
	return w.send(ctx, "updating", len(o.DryRun) > 0, object, func() error { return w.Client.Update(ctx, object, options...) })
}

// Patch implements client.Writer.
func (w *writer) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	return w.send(ctx, "patching", false, object, func() error { return w.Client.Patch(ctx, object, patch, options...) })
}

// Delete implements client.Writer.
func (w *writer) Delete(ctx context.Context, object client.Object, options ...client.DeleteOption) error {
	return w.send(ctx, "deleting", false, object, func() error { return w.Client.Delete(ctx, object, options...) })
}

// applyObject applies an object (server-side apply), and takes its fields over from other field
// managers. If the object has a resourceVersion, it is applied onto that version only. Afterwards
// the object has the new resourceVersion and the UID.
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
	return w.send(ctx, "applying", len(o.DryRun) > 0, object, func() error {
		options = append(options, client.FieldOwner(FieldManager), client.ForceOwnership)
		if err := w.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), options...); err != nil {
			return err
		}
		object.SetUID(u.GetUID())
		object.SetResourceVersion(u.GetResourceVersion())
		return nil
	})
}

// send sends a request, unless it was refused and must not be repeated yet.
func (w *writer) send(ctx context.Context, verb string, dryRun bool, object client.Object, ask func() error) error {
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
	if failed.retryAt, failed.err = w.recentRefusal(key, about.generation, version); failed.err != nil {
		return failed
	}
	failed.err = ask()
	failed.retryAt = w.recordAnswer(key, about.generation, version, failed.err)
	if failed.err != nil {
		return failed
	}
	if !dryRun && verb != "deleting" && object.GetResourceVersion() != version {
		w.echoes.add(objectOf(object), object.GetResourceVersion())
	}
	return nil
}

// recentRefusal returns the answer to a request that must not be repeated yet, and when it may be.
func (w *writer) recentRefusal(key request, generation int64, version string) (time.Time, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.refused[key]
	if r == nil || r.generation != generation || r.version != version || !w.now().Before(r.retryAt) {
		return time.Time{}, nil
	}
	return r.retryAt, r.err
}

// recordAnswer records the answer to a request, and returns when to repeat it if it was refused.
func (w *writer) recordAnswer(key request, generation int64, version string, err error) time.Time {
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
		w.removeExpired(now)
		w.refused[key] = r
	}
	r.err = err
	r.retryAt = now.Add(min(minRetryInterval<<min(r.tries, 16), maxRetryInterval))
	r.tries++
	return r.retryAt
}

// removeExpired removes refusals that no reconciler asks for any more.
func (w *writer) removeExpired(now time.Time) {
	for key, r := range w.refused {
		if now.Sub(r.retryAt) > maxRetryInterval {
			delete(w.refused, key)
		}
	}
}

// isRefusal reports whether err is the answer of an API server that refused a request, or whose
// admission plugin did. An answer that asks the client to read again, or to come back later, is
// none.
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
