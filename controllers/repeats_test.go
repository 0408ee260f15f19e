package controllers

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// A pass that was postponed until its object's last write is seen is asked for again when it is.
func TestWhatWasToComeFirstDoesSoHoweverItIsAddedMeanwhile(t *testing.T) {
	suspended := requestIn("crowd", 1000)
	later := func(q *fairQueue, priority int, after time.Duration) {
		q.AddWithOpts(priorityqueue.AddOpts{After: after, Priority: &priority}, suspended)
	}
	for name, add := range map[string]func(*fairQueue){
		"now":                 func(q *fairQueue) { later(q, firstPriority, time.Hour); q.Add(suspended) },
		"now, as existing":    func(q *fairQueue) { later(q, firstPriority, time.Hour); addExisting(q, suspended) },
		"sooner":              func(q *fairQueue) { later(q, firstPriority, time.Hour); later(q, 0, time.Minute) },
		"later":               func(q *fairQueue) { later(q, firstPriority, time.Minute); later(q, 0, time.Hour) },
		"first, but later":    func(q *fairQueue) { later(q, 0, time.Minute); later(q, firstPriority, time.Hour) },
		"first, and it waits": func(q *fairQueue) { q.Add(suspended); later(q, firstPriority, time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := startQueue(t)
				for i := range 1000 {
					q.Add(requestIn("crowd", i))
				}
				add(q)
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := turnsUntil(t, q, suspended, func(ctrl.Request) {}); n > 1 {
					t.Errorf("it comes as number %d", n)
				}
				if q.Len() != 1000 || len(q.later) > 0 {
					t.Errorf("%d others wait now, and %d for later", q.Len(), len(q.later))
				}
				q.ShutDown()
			})
		})
	}
}

// A worker adds a request while it is at it, also when a handler has done so meanwhile.
func TestARequestThatWasAddedDuringItsTurnComesFirstIfItsPassSaysSo(t *testing.T) {
	q := startQueue(t)
	q.Add(requestIn("crowd", 0))
	suspended, _, _ := q.GetWithPriority()
	for i := range 10 {
		q.Add(requestIn("crowd", i+1))
	}
	q.Add(suspended)
	q.AddWithOpts(priorityqueue.AddOpts{After: time.Hour, Priority: new(firstPriority)}, suspended)
	q.Done(suspended)
	if got := take(q); got != suspended {
		t.Errorf("the first is %v", got)
	}
	if q.Len() != 10 {
		t.Errorf("%d wait", q.Len())
	}
}

var failuresOfPasses = map[string]error{
	"a conflict":    apierrors.NewConflict(schema.GroupResource{}, "x", nil),
	"no API server": apierrors.NewServiceUnavailable("away"),
	"a refusal":     &writeError{err: apierrors.NewForbidden(schema.GroupResource{}, "x", nil), retryAt: time.Unix(1001, 0)},
}

func TestAPassThatFailsOverWhatEndsIsRepeatedFirstAFewTimes(t *testing.T) {
	later := metav1.NewTime(time.Unix(2000, 0))
	user, identity := &v1alpha1.OAuthUser{}, &v1alpha1.OAuthIdentity{}
	user.Spec.Suspended, identity.Spec.TokensNotBefore = true, &later
	revoking := &v1alpha1.OAuthClient{}
	revoking.Spec.Secret = &v1alpha1.ClientSecret{RevokedCredentials: []v1alpha1.CredentialID{"a"}}
	for what, err := range failuresOfPasses {
		op := &operator{now: func() time.Time { return time.Unix(1000, 0) }, failures: newFailureCounter(), delayedEvents: newDelayedEvents()}
		isFirst := map[string]func(err error) bool{
			"deleted": func(err error) bool {
				result, _ := op.finishWithoutStatus(compile.KindClient, client.ObjectKey{Name: "gone"}, true, err)
				return result.Priority != nil && *result.Priority == firstPriority
			},
		}
		for name, object := range map[string]client.Object{"suspended": user, "tokens": identity, "revoked": revoking, "changed": &v1alpha1.OAuthClient{}} {
			object.SetName(name)
			isFirst[name] = func(err error) bool {
				var f *failure
				if err != nil {
					f = &failure{conditionType: "Accepted", err: err}
				}
				result, _ := op.finishReconcile(object, f, new(time.Time), func() error { return nil })
				return result.Priority != nil && *result.Priority == firstPriority
			}
		}
		for name, isFirst := range isFirst {
			for _, err := range []error{err, nil, err} { // a pass that succeeds begins anew
				if err == nil {
					if isFirst(nil) {
						t.Errorf("%s: what has succeeded is repeated first", name)
					}
					continue
				}
				n := 0
				for range 2 * repeatsFirst {
					if isFirst(err) {
						n++
					}
				}
				if want := map[bool]int{true: repeatsFirst}[name != "changed"]; n != want {
					t.Errorf("%s, after %s: it is repeated first %d times, not %d", name, what, n, want)
				}
			}
		}
	}
}

// The controller is that of controller-runtime, with one worker, and what it waits for is its queue.
func TestASuspensionWhoseFirstPassFailsComesBeforeWhatElseWaitsInItsNamespace(t *testing.T) {
	const crowd = 1000
	for name, failed := range failuresOfPasses {
		if name == "a refusal" {
			continue // it is repeated after a second
		}
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			op := &operator{now: time.Now, failures: newFailureCounter(), delayedEvents: newDelayedEvents()}
			c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: "crowd", Name: fmt.Sprint(crowd)}}
			c.Spec.Suspended = true
			var q *fairQueue
			passes, others := 0, 0
			o := Options{Workers: 1}.controller()
			o.SkipNameValidation, o.LogConstructor = new(true), func(*ctrl.Request) logr.Logger { return logr.Discard() }
			o.Reconciler = reconcile.Func(func(_ context.Context, r ctrl.Request) (ctrl.Result, error) {
				if r.NamespacedName != client.ObjectKeyFromObject(c) {
					for passes == 1 && q.Len() < crowd-others { // until the suspension waits with the others
						time.Sleep(time.Millisecond)
					}
					if passes == 1 {
						others++
					}
					return ctrl.Result{}, nil
				}
				if passes++; passes == 1 {
					return op.finishReconcile(c, &failure{conditionType: "Accepted", err: failed}, new(time.Time), func() error { return nil })
				}
				cancel()
				return ctrl.Result{}, nil
			})
			controller, err := controller.NewUnmanaged("crowd", o)
			if err == nil {
				err = controller.Watch(source.Func(func(_ context.Context, queue requestQueue) error {
					q = queue.(*fairQueue)
					for i := range crowd {
						q.Add(requestIn("crowd", i))
					}
					addFirst(q, requestIn("crowd", crowd))
					return nil
				}))
			}
			if err == nil {
				err = controller.Start(ctx)
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if passes != 2 || others > changedShare {
				t.Errorf("its pass %d came after %d others", passes, others)
			}
		})
	}
}
