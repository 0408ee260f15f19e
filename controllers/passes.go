package controllers

import (
	"context"
	"errors"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// failureGracePeriod is how long the steps of an object fail, unless the API server refuses a write,
// until its conditions say so: a conflict with another client, or an API server that is away for a
// moment, is over by then.
const failureGracePeriod = 2 * time.Second

// step is a step of a pass over one object, and the condition that says what became of it.
type step[S any] struct {
	conditionType string
	run           func(context.Context, S) error
	// runAfterFailure is whether the step runs also after a step that failed.
	runAfterFailure bool
}

// failure is the first step of a pass that failed. It is nil if none did.
type failure struct {
	conditionType string
	err           error
	condition     condition // what the condition says
}

// runSteps runs the steps in order. After a step that failed, it runs only those that say so.
func runSteps[S any](ctx context.Context, scope S, steps []step[S]) *failure {
	var failed *failure
	for _, s := range steps {
		if failed != nil && !s.runAfterFailure {
			continue
		}
		if err := s.run(ctx, scope); err != nil && failed == nil {
			failed = &failure{conditionType: s.conditionType, err: err}
		}
	}
	return failed
}

// typedCondition returns what a condition says after a pass: that its step failed; what the steps
// determined; and if they did not get that far, what it said of this generation before, or else
// that it is pending.
func (f *failure) typedCondition(conditionType string, found condition, before []metav1.Condition, generation int64, pending string) typedCondition {
	known := meta.FindStatusCondition(before, conditionType)
	switch {
	case f != nil && f.conditionType == conditionType:
		return typedCondition{conditionType, f.condition}
	case found.isSet():
		return typedCondition{conditionType, found}
	case f != nil && known != nil && known.ObservedGeneration == generation:
		return typedCondition{conditionType, condition{status: known.Status, reason: known.Reason, message: known.Message}}
	}
	return typedCondition{conditionType, pendingCondition("%s", pending)}
}

// readyCondition is readyCondition of the conditions, but names the step that failed rather than
// that other steps wait for it.
func (f *failure) readyCondition(conditions []typedCondition, message string) condition {
	ready := readyCondition(conditions, message)
	if f != nil && ready.status != metav1.ConditionFalse {
		return f.condition
	}
	return ready
}

// explainFailure returns what the condition of a step that failed says. It quotes the API server
// only about an object in the namespace of this one: the people who read the condition may not be
// permitted to know of other namespaces.
func explainFailure(err error, object client.Object) condition {
	var status apierrors.APIStatus
	answered := errors.As(err, &status)
	var w *writeError
	if errors.As(err, &w) && isRefusal(err) {
		if w.namespace == object.GetNamespace() {
			return falseCondition(v1alpha1.ReasonRefused, "%s %s %q is refused by the API server: %s", w.verb, w.kind, w.name, status.Status().Message)
		}
		return falseCondition(v1alpha1.ReasonRefused, "%s an object of kind %s in the AuthorizationServer's namespace is refused by the API server (%s): ask the server's owner",
			w.verb, w.kind, status.Status().Reason)
	}
	if answered {
		return falseCondition(v1alpha1.ReasonFailed, "the API server answers with an error (%s); it is asked again", status.Status().Reason)
	}
	return falseCondition(v1alpha1.ReasonFailed, "the manager could not finish, and tries again; its log says why")
}

// isTransient reports whether an error means only that another client of the API server was faster,
// or that the manager is being stopped.
func isTransient(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || errors.Is(err, context.Canceled)
}

// failureCounter counts the passes over each object that failed since the last one that did not.
type failureCounter struct {
	mu       sync.Mutex
	byObject map[string]failureCount
}

type failureCount struct {
	since  time.Time
	passes int
}

// repeatsFirst is how many passes in a row over what ends are repeated before what else waits when they
// fail: some ten seconds of conflicts or of an API server that is away. What fails for longer is
// refused or broken, and waits with the rest.
const repeatsFirst = 10

// priority returns the priority with which a pass that failed is repeated, over an object that ends
// or does not; nil: that of what has changed.
func (c failureCount) priority(ends bool) *int {
	if ends && c.passes <= repeatsFirst {
		return new(firstPriority)
	}
	return nil
}

func newFailureCounter() *failureCounter {
	return &failureCounter{byObject: map[string]failureCount{}}
}

func (c *failureCounter) add(key string, now time.Time) failureCount {
	c.mu.Lock()
	defer c.mu.Unlock()
	count, known := c.byObject[key]
	if !known {
		count.since = now
	}
	count.passes++
	c.byObject[key] = count
	return count
}

// since returns when the first of the failures was.
func (c *failureCounter) since(key string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byObject[key].since
}

func (c *failureCounter) clear(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byObject, key)
}

// finishReconcile ends a pass over an object: it writes the status, which also tells of a failure,
// and returns when the next pass is due. A failure that may be over in a moment does not change the
// conditions until failureGracePeriod has passed.
func (op *operator) finishReconcile(object client.Object, f *failure, requeueAt *time.Time, writeStatus func() error) (ctrl.Result, error) {
	ends := endsOf(object).isAny()
	key := failureKey(compile.OwnerOf(object).Kind, client.ObjectKeyFromObject(object))
	if f == nil {
		op.failures.clear(key)
		if err := writeStatus(); err != nil {
			return op.retry(key, ends, err)
		}
		return requeueResult(op.now(), earliest(*requeueAt, op.recordDelayedEvents(object))), nil
	}
	if skew := asVersionSkew(f.err); skew != nil { // no fault: the object waits for another version
		op.failures.clear(key)
		f.conditionType, f.condition = v1alpha1.ConditionProgrammed, skew.condition
		if err := writeStatus(); err != nil {
			return op.retry(key, ends, err)
		}
		return requeueResult(op.now(), earliest(*requeueAt, skew.until)), nil
	}
	result, err := op.retry(key, ends, f.err)
	if op.isReportable(key, f.err) {
		f.condition = explainFailure(f.err, object)
		if err := writeStatus(); err != nil {
			return op.retry(key, ends, err)
		}
	}
	if err == nil && !requeueAt.IsZero() {
		result.RequeueAfter = min(result.RequeueAfter, requeueResult(op.now(), *requeueAt).RequeueAfter)
	}
	return result, err
}

func failureKey(kind string, key client.ObjectKey) string { return kind + " " + key.String() }

// isReportable reports whether the conditions of an object are to tell of an error now.
func (op *operator) isReportable(key string, err error) bool {
	var status apierrors.APIStatus
	if isRefusal(err) && errors.As(err, &status) && status.Status().Code < 500 {
		return true
	}
	return op.now().Sub(op.failures.since(key)) >= failureGracePeriod
}

// retry returns when a pass that failed is repeated. A refusal by the API server and a lost race
// are not errors of the manager: they are not returned as errors, which would be logged as such. It
// is repeated first if the object, or something of it, ends.
func (op *operator) retry(key string, ends bool, err error) (result ctrl.Result, _ error) {
	count := op.failures.add(key, op.now())
	var w *writeError
	switch {
	case errors.As(err, &w) && !w.retryAt.IsZero():
		result, err = requeueResult(op.now(), w.retryAt), nil
	case isTransient(err):
		result, err = ctrl.Result{RequeueAfter: min(5*time.Millisecond<<min(count.passes, 16), maxRetry)}, nil
	}
	result.Priority = count.priority(ends)
	return result, err
}

// finishWithoutStatus ends a pass over an object that has no conditions or, if it ends, does not exist.
// So a refusal is returned as an error, for the log to tell of it.
func (op *operator) finishWithoutStatus(kind string, object client.ObjectKey, ends bool, err error) (ctrl.Result, error) {
	key := failureKey(kind, object)
	switch {
	case err == nil:
		op.failures.clear(key)
		return ctrl.Result{}, nil
	case isRefusal(err):
		return ctrl.Result{Priority: op.failures.add(key, op.now()).priority(ends)}, err
	case asVersionSkew(err) != nil:
		return ctrl.Result{RequeueAfter: maxRetry}, nil
	}
	return op.retry(key, ends, err)
}

// requeueResult returns the result that repeats a pass at a time, or not at all if that is zero.
func requeueResult(now, at time.Time) ctrl.Result {
	if at.IsZero() {
		return ctrl.Result{}
	}
	return ctrl.Result{RequeueAfter: max(at.Sub(now), time.Millisecond)}
}

// getUndeleted reads an object from the cache, and reports whether it exists and is not being
// deleted.
func (op *operator) getUndeleted(ctx context.Context, key client.ObjectKey, object client.Object) (bool, error) {
	err := op.Get(ctx, key, object)
	return err == nil && object.GetDeletionTimestamp().IsZero(), client.IgnoreNotFound(err)
}

// reconcileDeleted deletes the Entries of an object that does not exist or is being deleted.
func (op *operator) reconcileDeleted(ctx context.Context, kind string, key client.ObjectKey) (ctrl.Result, error) {
	err := op.entries.DeleteOrphaned(ctx, internalv1alpha1.Owner{Kind: kind, Namespace: key.Namespace, Name: key.Name})
	return op.finishWithoutStatus(kind, key, true, err)
}

// earliest returns the earlier of two times, of which the zero time means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
