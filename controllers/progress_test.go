package controllers

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

func TestAnObjectIsReconciledAgainWhenWhatItWaitsForIsServed(t *testing.T) {
	tracker, key, now := newProgressTracker(), progressKey{"server", compile.KindClient}, time.Now()
	a, b := client.ObjectKey{Name: "a"}, client.ObjectKey{Name: "b"}
	if since, waits := tracker.await(key, a, 7, now); !waits || since != now {
		t.Errorf("it waits: %v, since %v", waits, since)
	}
	tracker.await(key, b, 9, now)
	if since, _ := tracker.await(key, a, 7, now.Add(time.Minute)); since != now {
		t.Error("it began to wait again for the same")
	}
	if got := tracker.advance(progressKey{"server", compile.KindUser}, 100); len(got) > 0 {
		t.Errorf("for another kind: %v", got)
	}
	for _, step := range []struct {
		applied uint64
		want    []client.ObjectKey
	}{{6, nil}, {8, []client.ObjectKey{a}}, {8, nil}, {9, []client.ObjectKey{b}}} {
		if got := tracker.advance(key, step.applied); !slices.Equal(got, step.want) {
			t.Errorf("applied %d: %v", step.applied, got)
		}
	}
	if _, waits := tracker.await(key, a, 9, now); waits {
		t.Error("it waits for what was applied while the pass looked") // no report would come that ends it
	}
	if _, waits := tracker.await(key, a, 10, now); !waits {
		t.Error("it does not wait for what was not applied")
	}
	tracker.forget(key, a)
	if got := tracker.advance(key, 11); len(got) > 0 {
		t.Errorf("after it was forgotten: %v", got)
	}
}

func TestAStatusSaysThatTokenServersLagBehindOnlyAfterASecond(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	c := env.readyClient()
	applied := env.entry(internalv1alpha1.SpaceIdentity, compile.ClientID(c)).ResourceVersion
	updateObject(env, env.replica, func(r *internalv1alpha1.Replica) { r.Spec.AppliedResourceVersion = applied })
	made.waitUntilQuiet(t)

	began := time.Now()
	lagging := env.newClient()
	eventually.True(t, "the status tells", func() bool {
		env.get(lagging)
		return meta.FindStatusCondition(lagging.Status.Conditions, v1alpha1.ConditionProgrammed) != nil
	})
	if time.Since(began) < statusDelay {
		t.Errorf("it was written after %v", time.Since(began))
	}
	env.waitForCondition(lagging, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonPending)
	version, err := strconv.Atoi(env.entry(internalv1alpha1.SpaceIdentity, compile.ClientID(lagging)).ResourceVersion)
	if err != nil {
		t.Fatal(err)
	}
	for _, serves := range []int{version - 1, version} {
		updateObject(env, env.replica, func(r *internalv1alpha1.Replica) { r.Spec.AppliedResourceVersion = strconv.Itoa(serves) })
	}
	env.waitForCondition(lagging, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	made.waitUntilQuiet(t)
	fast := env.newClient()
	eventually.True(t, "the Entry has the credential", func() bool {
		credentials := env.document(fast).Credentials
		return len(credentials) == 1 && credentials[0].State == "Active"
	})
	updateObject(env, env.replica, func(r *internalv1alpha1.Replica) { r.Spec.AppliedResourceVersion = maxResourceVersion })
	env.waitForCondition(fast, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if written := made.matching("/status"); len(written) > 2 { // at most: on a machine that is slow
		t.Errorf("the status was written %d times", len(written))
	}
}
