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

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// reportAfter is how long steps of an object fail, for other reasons than a refusal, until its
// conditions say so: another manager's or a user's write in between, and an API server that is away
// for a moment, are no news.
const reportAfter = 2 * time.Second

// step is a part of a pass over one object, and the condition that tells what became of it.
type step[S any] struct {
	conditionType string
	run           func(context.Context, S) error
	// always: also after a step that failed.
	runAfterFailure bool
}

// failure is a step that failed. Nil is none.
type failure struct {
	conditionType string
	err           error
	condition     condition // what the condition says
}

// take does the steps in order. After one that fails, it does only those that are to be done
// always.
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

// ready sums the parts up as ready does, but tells of the step that failed rather than that others
// wait for it.
func (f *failure) readyCondition(parts []typedCondition, message string) condition {
	v := readyCondition(parts, message)
	if f != nil && v.status != metav1.ConditionFalse {
		return f.condition
	}
	return v
}

// explain is the verdict on a step that failed, for the conditions of an object: what the API
// server said, if it was about something in the object's namespace; the people who read the
// conditions may know nothing of others.
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

// passing says whether an error only means that another client of the API server was faster, or
// that the manager is being stopped.
func isTransient(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || errors.Is(err, context.Canceled)
}

// setbacks remembers of each object since when passes over it have failed, one after the other.
type setbacks struct {
	mu sync.Mutex
	of map[string]setback
}

type setback struct {
	since time.Time
	tries int
}

func newSetbacks() *setbacks { return &setbacks{of: map[string]setback{}} }

func (s *setbacks) add(key string, now time.Time) setback {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, known := s.of[key]
	if !known {
		b.since = now
	}
	b.tries++
	s.of[key] = b
	return b
}

func (s *setbacks) clear(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, key)
}

// finish ends a pass: it writes the status, which tells of a failure too, and says when the next
// pass is due. A failure that may be over in a moment is told when it is not; until then the
// conditions stand as they are.
func (op *operator) finish(object client.Object, kind string, f *failure, wake *time.Time, write func() error) (ctrl.Result, error) {
	key := setbackKey(kind, client.ObjectKeyFromObject(object))
	if f == nil {
		op.setbacks.clear(key)
		if err := write(); err != nil {
			return op.retry(key, err)
		}
		return after(op.now(), earliest(*wake, op.announceHeldBack(object))), nil
	}
	if held := asVersionSkew(f.err); held != nil { // no fault: another version is waited for
		op.setbacks.clear(key)
		f.conditionType, f.condition = v1alpha1.ConditionProgrammed, held.condition
		if err := write(); err != nil {
			return op.retry(key, err)
		}
		return after(op.now(), earliest(*wake, held.until)), nil
	}
	result, err := op.retry(key, f.err)
	if op.reportable(key, f.err) {
		f.condition = explainFailure(f.err, object)
		if err := write(); err != nil {
			return op.retry(key, err)
		}
	}
	if err == nil && !wake.IsZero() {
		result.RequeueAfter = min(result.RequeueAfter, after(op.now(), *wake).RequeueAfter)
	}
	return result, err
}

func setbackKey(kind string, key client.ObjectKey) string { return kind + " " + keyText(key) }

// reportable reports whether the conditions are to tell of an error now.
func (op *operator) reportable(key string, err error) bool {
	var status apierrors.APIStatus
	if isRefusal(err) && errors.As(err, &status) && status.Status().Code < 500 {
		return true
	}
	op.setbacks.mu.Lock()
	defer op.setbacks.mu.Unlock()
	return op.now().Sub(op.setbacks.of[key].since) >= reportAfter
}

// retry says when a pass that failed is made again. What is refused is not an error of the manager,
// nor is that another was faster: those are not returned as errors, which would be logged as such.
func (op *operator) retry(key string, err error) (ctrl.Result, error) {
	b := op.setbacks.add(key, op.now())
	var w *writeError
	switch {
	case errors.As(err, &w) && !w.retryAt.IsZero():
		return after(op.now(), w.retryAt), nil
	case isTransient(err):
		return ctrl.Result{RequeueAfter: min(5*time.Millisecond<<min(b.tries, 16), maxRetry)}, nil
	}
	return ctrl.Result{}, err
}

// done is the result of a pass over an object that has no conditions, or is gone. So the log tells of
// what is refused.
func (op *operator) done(kind string, object client.ObjectKey, err error) (ctrl.Result, error) {
	key := setbackKey(kind, object)
	switch {
	case err == nil:
		op.setbacks.clear(key)
		return ctrl.Result{}, nil
	case isRefusal(err):
		return ctrl.Result{}, err
	case asVersionSkew(err) != nil:
		return ctrl.Result{RequeueAfter: maxRetry}, nil
	}
	return op.retry(key, err)
}
