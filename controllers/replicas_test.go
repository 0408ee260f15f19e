package controllers

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	served "github.com/oauth-operator/oauth-operator/api/served/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

func (w *world) applied(r *served.Replica, version string) {
	w.t.Helper()
	edit(w, r, func(r *served.Replica) { r.Spec.AppliedResourceVersion = version })
}

// lagging is a cache whose watch has brought nothing since it saw these.
type lagging struct {
	client.Client
	seen []served.Replica
}

func (c lagging) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*served.ReplicaList).Items = slices.Clone(c.seen)
	return nil
}

func TestAReplicaIsNotTakenForDeadBecauseTheWatchIsBehind(t *testing.T) {
	w := newWorld(t)
	second := w.newReplica("main-1", everything)
	seen := []served.Replica{*w.replica, *second}
	for i := range seen {
		seen[i].Spec.RenewTime = metav1.NewMicroTime(time.Now().Add(-10 * time.Minute))
	}
	edit(w, second, func(r *served.Replica) { r.Spec.RenewTime = metav1.NewMicroTime(time.Now().Add(-liveFor)) })
	op := &operator{Client: lagging{seen: seen}, live: admin, now: time.Now}
	live, err := op.liveReplicasNow(t.Context(), w.server)
	if err != nil || len(live) != 1 || live[0].Name != w.replica.Name {
		t.Errorf("want %s alone, got %v (%v)", w.replica.Name, live, err)
	}
}

func TestAReplicaThatWasKilledLeavesNothingForGood(t *testing.T) {
	w := newWorld(t)
	ago := func(d time.Duration) func(*served.Replica) {
		return func(r *served.Replica) {
			r.Spec.RenewTime = metav1.NewMicroTime(time.Now().Add(-d).UTC().Truncate(time.Microsecond))
		}
	}
	long, lately := w.newReplica("killed-0", "1", ago(2*time.Hour)), w.newReplica("killed-1", "1", ago(time.Minute))
	eventually(t, "the Replica of what was killed long ago to go", func() bool {
		return apierrors.IsNotFound(admin.Get(t.Context(), client.ObjectKeyFromObject(long), long))
	})
	for _, r := range []*served.Replica{w.replica, lately} {
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(r), r); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
}

func TestProgrammedWaitsForEveryLiveReplica(t *testing.T) {
	w := newWorld(t)
	second := w.newReplica("main-1", "1")
	c := w.newClient()
	message := w.condition(c, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonPending)
	if !strings.Contains(message, "main-1") {
		t.Error(message)
	}
	w.condition(c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonPending)
	e := w.entry(served.SpaceIdentity, c.Namespace+"."+c.Name)
	w.applied(second, e.ResourceVersion)
	w.condition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	// A new generation counts anew; one that dies is waited for no more.
	w.applied(second, everything)
	w.newReplica("main-2", "1", func(r *served.Replica) { // it will be dead in a few seconds
		r.Spec.RenewTime = metav1.NewMicroTime(time.Now().Add(6*time.Second - liveFor).UTC().Truncate(time.Microsecond))
	})
	edit(w, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
	w.condition(c, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonPending)
	w.condition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestProgrammedCountsAllThatDecidesAboutAClient(t *testing.T) {
	w := newWorld(t)
	api := w.newAPI(ordersAPI, "orders:read")
	w.condition(api, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	c := w.readyClient(func(c *v1alpha1.OAuthClient) { c.Spec.Scopes = []string{"orders:read", "orders:write"} }, func(*v1alpha1.OAuthClient) {
		edit(w, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = declared("orders:read", "orders:write") })
	})
	w.applied(w.replica, w.entry(served.SpaceIdentity, c.Status.ClientID).ResourceVersion)
	edit(w, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = declared("orders:read") })
	w.condition(c, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonUnknownScope)
	edit(w, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = declared("orders:read", "orders:write") })
	w.condition(c, v1alpha1.ConditionResolvedRefs, metav1.ConditionTrue, v1alpha1.ReasonResolvedRefs)
	w.condition(c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonPending) // the scope is not served yet
	w.applied(w.replica, everything)
	w.condition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestProgrammedIsNotWithdrawnWhenAServerRestarts(t *testing.T) {
	made := watchWrites(t)
	w := newWorld(t)
	c := w.readyClient()
	made.settle(t)
	w.remove(w.replica)
	w.condition(w.server, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	w.condition(w.server, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	edit(w, c, func(c *v1alpha1.OAuthClient) { c.Annotations = map[string]string{"example.com/touched": "yes"} })
	w.replica = w.newReplica("main-0", "1")
	w.condition(w.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	made.settleAt(t, 2, "when the token server restarts")
	if n := len(made.to("/oauthclients")); n > 0 {
		t.Errorf("clients' statuses were written %d times", n)
	}
	// But what is new waits, until there is a token server that is ready.
	edit(w, w.replica, func(r *served.Replica) {
		r.Spec.Ready, r.Spec.AppliedResourceVersion, r.Spec.Problem = false, everything, "port 443 is taken"
	})
	message := w.condition(w.server, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonReplicaProblem)
	if !strings.Contains(message, "port 443 is taken") {
		t.Error(message)
	}
	late := w.newClient()
	w.condition(late, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	edit(w, w.replica, func(r *served.Replica) { r.Spec.Ready = true })
	w.condition(late, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestAReplicaThatWasTakenForDeadCountsWhenItRenews(t *testing.T) {
	w := newWorld(t)
	edit(w, w.replica, func(r *served.Replica) { r.Spec.RenewTime = metav1.NewMicroTime(time.Now().Add(-time.Hour).UTC()) })
	w.condition(w.server, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	c := w.newClient()
	w.condition(c, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	edit(w, w.replica, func(r *served.Replica) { r.Spec.RenewTime = soon() })
	w.condition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestAnEntryThatAReplicaCannotReadIsItsClientsAlone(t *testing.T) {
	made := watchWrites(t)
	w := newWorld(t)
	hurt, other := w.readyClient(), w.readyClient()
	made.settle(t)
	e := w.entry(served.SpaceIdentity, hurt.Status.ClientID)
	edit(w, w.replica, func(r *served.Replica) {
		r.Spec.Rejected = []served.RejectedEntry{{Name: e.Name, ResourceVersion: e.ResourceVersion, Reason: "unknown member"}}
	})
	message := w.condition(hurt, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonEntryRejected)
	if !strings.Contains(message, "main-0") || !strings.Contains(message, "unknown member") {
		t.Error(message)
	}
	w.condition(hurt, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonEntryRejected)
	w.condition(other, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	edit(w, w.replica, func(r *served.Replica) { r.Spec.Rejected = nil })
	w.condition(hurt, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestTheLastUseOfACredentialIsToldOnceAnHour(t *testing.T) {
	made := watchWrites(t)
	w := newWorld(t)
	c := w.readyClient()
	id := c.Status.Credentials[0].ID
	use := func(at time.Time) {
		edit(w, w.replica, func(r *served.Replica) {
			r.Spec.Used = []served.CredentialUse{{Owner: types.UID("another"), ID: id, Time: metav1.NewTime(at)}, {Owner: c.UID, ID: id, Time: metav1.NewTime(at)}}
		})
	}
	told := func() *metav1.Time { w.get(c); return c.Status.Credentials[0].LastUsed }
	first := time.Now().UTC().Truncate(time.Minute).Add(-10 * time.Hour)
	use(first)
	eventually(t, "the first use is told", func() bool { return told() != nil && told().Time.Equal(first) })
	made.settle(t)
	use(first.Add(time.Minute))
	use(first.Add(59 * time.Minute))
	time.Sleep(300 * time.Millisecond)
	if at := told(); !at.Time.Equal(first) {
		t.Errorf("a use within the hour was told: %s", at)
	}
	use(first.Add(time.Hour))
	eventually(t, "a use an hour later is told", func() bool { return told().Time.Equal(first.Add(time.Hour)) })
	w.remove(w.replica)
	edit(w, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
	eventually(t, "it was looked at", func() bool { w.get(c); return c.Status.ObservedGeneration == c.Generation })
	if at := told(); at == nil || !at.Time.Equal(first.Add(time.Hour)) {
		t.Errorf("the last use was forgotten with the replica that told it: %v", at)
	}
	if meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionProgrammed) {
		t.Error("a new generation is Programmed without a replica")
	}
}
