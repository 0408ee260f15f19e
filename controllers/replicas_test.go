package controllers

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

func (w *testEnv) applied(r *internalv1alpha1.Replica, version string) {
	w.t.Helper()
	updateObject(w, r, func(r *internalv1alpha1.Replica) { r.Spec.AppliedResourceVersion = version })
}

// lagging is a cache whose watch has brought nothing since it saw these.
type lagging struct {
	client.Client
	seen []internalv1alpha1.Replica
}

func (c lagging) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*internalv1alpha1.ReplicaList).Items = slices.Clone(c.seen)
	return nil
}

func TestAReplicaIsNotTakenForDeadBecauseTheWatchIsBehind(t *testing.T) {
	w := newEnv(t)
	second := w.newReplica("main-1", maxResourceVersion)
	seen := []internalv1alpha1.Replica{*w.replica, *second}
	op := &operator{Client: lagging{seen: seen}, live: admin, now: w.clock.now, seen: newSightings(w.clock.now)}
	if live, err := op.liveReplicasNow(t.Context(), w.server); err != nil || len(live) != 2 {
		t.Errorf("want both, got %v (%v)", live, err)
	}
	w.clock.move(10 * time.Minute)
	w.renew(w.replica) // the watch brings nothing of it
	if live, err := op.liveReplicasNow(t.Context(), w.server); err != nil || len(live) != 2 {
		t.Errorf("want the other too, of which nothing could be seen for ten minutes, got %v (%v)", live, err)
	}
	w.clock.move(liveFor - time.Second)
	w.renew(w.replica)
	if _, err := op.liveReplicasNow(t.Context(), w.server); err != nil {
		t.Error(err)
	}
	w.clock.move(time.Second)
	live, err := op.liveReplicasNow(t.Context(), w.server)
	if err != nil || len(live) != 1 || live[0].Name != w.replica.Name {
		t.Errorf("want %s alone, got %v (%v)", w.replica.Name, live, err)
	}
	w.clock.move(liveFor) // nor is the older version that the watch still shows a change
	if live, err := op.liveReplicas(t.Context(), w.server); err != nil || len(live) > 0 {
		t.Errorf("want none, got %v (%v)", live, err)
	}
}

// knownReplicas are those of a server in the cache of a manager, and its clock.
type knownReplicas struct {
	lagging
	op  *operator
	now time.Time
}

func newKnownReplicas() *knownReplicas {
	k := &knownReplicas{now: time.Now()}
	clock := func() time.Time { return k.now }
	k.op = &operator{Client: &k.lagging, now: clock, seen: newSightings(clock)}
	return k
}

// live are the names of those that are live a while later, when the cache has these.
func (k *knownReplicas) live(t *testing.T, after time.Duration, seen ...internalv1alpha1.Replica) string {
	t.Helper()
	k.now, k.seen = k.now.Add(after), seen
	live, err := k.op.liveReplicas(t.Context(), &v1alpha1.AuthorizationServer{})
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, r := range live {
		list = append(list, r.Name)
	}
	return strings.Join(list, " ")
}

// said is a Replica in one version, by a clock that is off.
func (k *knownReplicas) said(name, version string, off time.Duration) internalv1alpha1.Replica {
	return internalv1alpha1.Replica{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), ResourceVersion: version},
		Spec:       internalv1alpha1.ReplicaSpec{RenewTime: metav1.NewMicroTime(k.now.Add(off)), Ready: true},
	}
}

func TestAReplicaLivesFromWhenItWasSeenToChangeWhateverItsClockSays(t *testing.T) {
	k := newKnownReplicas()
	ahead := func(version string) internalv1alpha1.Replica { return k.said("ahead", version, 5*time.Minute) }
	behind := func(version string) internalv1alpha1.Replica { return k.said("behind", version, -5*time.Minute) }
	for i, step := range []struct {
		after         time.Duration
		ahead, behind string
		live, what    string
	}{
		{0, "10", "11", "ahead behind", "both are new"},
		{liveFor - time.Second, "10", "12", "ahead behind", "one has renewed itself"},
		{time.Second, "10", "12", "behind", "one has not for 30 seconds"},
		{liveFor - 2*time.Second, "13", "12", "ahead behind", "it has again"},
		{time.Second, "13", "12", "ahead", "now it is the other way round"},
		{time.Hour, "13", "9", "", "no change, and an older version than was seen"},
	} {
		if got := k.live(t, step.after, ahead(step.ahead), behind(step.behind)); got != step.live {
			t.Errorf("step %d, %s: %q are live, want %q", i, step.what, got, step.live)
		}
	}
}

// When the API server was away, one replica reaches it before the others. They are alive, and decide when
// a key is used and which formats are written.
func TestAReplicaThatIsBackLaterThanAnotherAfterAnOutageIsLive(t *testing.T) {
	k := newKnownReplicas()
	for i, step := range []struct {
		after                time.Duration
		first, second, early string
		live, what           string
	}{
		{0, "10", "11", "1", "first second early", "all are found"},
		{10 * time.Second, "20", "21", "1", "first second early", "two renew themselves"},
		{20 * time.Second, "30", "31", "1", "first second", "one does not any more"},
		{10 * time.Minute, "30", "31", "1", "", "nobody can"},
		{time.Second, "30", "41", "1", "first second", "one is back"},
		{liveFor - 2*time.Second, "30", "51", "1", "first second", "the other has time"},
		{2 * time.Second, "30", "51", "1", "second", "and had it"},
	} {
		if got := k.live(t, step.after, k.said("first", step.first, 0), k.said("second", step.second, 0), k.said("early", step.early, 0)); got != step.live {
			t.Errorf("step %d, %s: %q are live, want %q", i, step.what, got, step.live)
		}
	}
}

func TestAReplicaWhoseClockIsOffDelaysNothingAndIsWaitedFor(t *testing.T) {
	for name, off := range map[string]time.Duration{"ahead": 5 * time.Minute, "behind": -5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			w := newEnv(t)
			renewed := metav1.NewMicroTime(time.Now().Add(off).UTC().Truncate(time.Microsecond))
			other := w.newReplica("other", "1", func(r *internalv1alpha1.Replica) { r.Spec.RenewTime = renewed })
			c := w.newClient()
			if message := w.waitForCondition(c, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonPending); !strings.Contains(message, "other") {
				t.Errorf("is not waited for: %s", message)
			}
			w.applied(other, maxResourceVersion)
			w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.applied(other, "1")   // and now it dies
			time.Sleep(time.Second) // the manager has seen it
			w.clock.move(liveFor - 5*time.Second)
			w.renew(w.replica)
			updateObject(w, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
			w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}

func TestAReplicaThatWasKilledLeavesNothingForGood(t *testing.T) {
	w := newEnv(t)
	usage := func(name string) *internalv1alpha1.Usage {
		return w.newUsage(name, internalv1alpha1.CredentialUse{Owner: "c", ID: "c1", Time: metav1.NewTime(time.Now().UTC().Truncate(time.Hour))})
	}
	long := w.newReplica("killed-0", "1")
	gone := []client.Object{long, usage("killed-0"), usage("ended-0")} // the last ended in order, and left its Usage alone
	lives := usage(w.replica.Name)
	w.renew(w.replica)
	time.Sleep(time.Second) // the manager has seen them
	w.clock.move(30 * time.Minute)
	w.renew(w.replica)
	time.Sleep(time.Second)
	for _, o := range append(gone, lives) {
		if !w.exists(o) {
			t.Errorf("%T %s is gone after half an hour", o, o.GetName())
		}
	}
	lately := w.newReplica("killed-1", "1")
	kept := usage("ended-1")
	w.clock.move(mourning - 20*time.Minute)
	w.renew(w.replica)
	for _, o := range gone {
		eventually.True(t, "what the dead left behind to go", func() bool { return !w.exists(o) })
	}
	for _, o := range []client.Object{w.replica, lives, lately, kept} {
		if !w.exists(o) {
			t.Errorf("%T %s is gone", o, o.GetName())
		}
	}
}

// newUsage is what a token server tells of credentials.
func (w *testEnv) newUsage(name string, uses ...internalv1alpha1.CredentialUse) *internalv1alpha1.Usage {
	w.t.Helper()
	u := &internalv1alpha1.Usage{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.identity, Name: name, Labels: map[string]string{internalv1alpha1.ServerUIDLabel: string(w.server.UID)}},
		Spec:       internalv1alpha1.UsageSpec{ServerUID: w.server.UID, Uses: uses},
	}
	create(w.t, u)
	return u
}

func TestAManagerThatStartsDoesNotTakeADeadReplicaForAvailable(t *testing.T) {
	w, stop := newEnvWithStop(t)
	stop()
	dead := w.newReplica("dead-0", maxResourceVersion)
	w.deleteObject(w.replica)
	setCondition(w, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	startManager(t, w.clock.set)
	updateObject(w, w.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.TrustedProxies = []v1alpha1.CIDR{"10.0.0.0/8"} })
	w.waitForCondition(w.server, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	w.renew(dead)
	w.waitForCondition(w.server, v1alpha1.ConditionAvailable, metav1.ConditionTrue, v1alpha1.ReasonAvailable)
}

// setCondition of the server, as a manager before wrote it.
func setCondition(w *testEnv, kind string, status metav1.ConditionStatus, reason string) {
	w.t.Helper()
	w.get(w.server)
	meta.SetStatusCondition(&w.server.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: reason})
	if err := admin.Status().Update(w.t.Context(), w.server); err != nil {
		w.t.Fatal(err)
	}
}

func TestProgrammedWaitsForEveryLiveReplica(t *testing.T) {
	w := newEnv(t)
	second := w.newReplica("main-1", "1")
	c := w.newClient()
	message := w.waitForCondition(c, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonPending)
	if !strings.Contains(message, "main-1") {
		t.Error(message)
	}
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonPending)
	e := w.entry(internalv1alpha1.SpaceIdentity, c.Namespace+"."+c.Name)
	w.applied(second, e.ResourceVersion)
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	// A new generation counts anew; one that dies is waited for no more.
	w.newReplica("main-2", "1")
	w.renew(w.replica)
	time.Sleep(time.Second)               // the manager has seen it
	w.clock.move(liveFor - 6*time.Second) // it will be dead in a few seconds
	w.renew(w.replica)
	w.applied(second, maxResourceVersion)
	updateObject(w, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
	w.waitForCondition(c, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonPending)
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestProgrammedCountsAllThatDecidesAboutAClient(t *testing.T) {
	w := newEnv(t)
	api := w.newAPI(ordersAPI, "orders:read")
	w.waitForCondition(api, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	c := w.readyClient(func(c *v1alpha1.OAuthClient) { c.Spec.Scopes = []string{"orders:read", "orders:write"} }, func(*v1alpha1.OAuthClient) {
		updateObject(w, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = resourceScopes("orders:read", "orders:write") })
	})
	w.applied(w.replica, w.entry(internalv1alpha1.SpaceIdentity, c.Status.ClientID).ResourceVersion)
	updateObject(w, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = resourceScopes("orders:read") })
	w.waitForCondition(c, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonUnknownScope)
	updateObject(w, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = resourceScopes("orders:read", "orders:write") })
	w.waitForCondition(c, v1alpha1.ConditionResolvedRefs, metav1.ConditionTrue, v1alpha1.ReasonResolvedRefs)
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonPending) // the scope is not served yet
	w.applied(w.replica, maxResourceVersion)
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestProgrammedIsNotWithdrawnWhenAServerRestarts(t *testing.T) {
	made := recordWrites(t)
	w := newEnv(t)
	c := w.readyClient()
	made.waitUntilQuiet(t)
	w.deleteObject(w.replica)
	w.waitForCondition(w.server, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	w.waitForCondition(w.server, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	updateObject(w, c, func(c *v1alpha1.OAuthClient) { c.Annotations = map[string]string{"example.com/touched": "yes"} })
	w.replica = w.newReplica("main-0", "1")
	w.waitForCondition(w.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	made.checkUntilQuiet(t, 2, "when the token server restarts")
	if n := len(made.matching("/oauthclients")); n > 0 {
		t.Errorf("clients' statuses were written %d times", n)
	}
	// But what is new waits, until there is a token server that is ready.
	updateObject(w, w.replica, func(r *internalv1alpha1.Replica) {
		r.Spec.Ready, r.Spec.AppliedResourceVersion, r.Spec.Problem = false, maxResourceVersion, "port 443 is taken"
	})
	message := w.waitForCondition(w.server, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonReplicaProblem)
	if !strings.Contains(message, "port 443 is taken") {
		t.Error(message)
	}
	late := w.newClient()
	w.waitForCondition(late, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	updateObject(w, w.replica, func(r *internalv1alpha1.Replica) { r.Spec.Ready = true })
	w.waitForCondition(late, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestAReplicaThatWasTakenForDeadCountsWhenItRenews(t *testing.T) {
	w := newEnv(t)
	w.clock.move(time.Hour)
	updateObject(w, w.server, func(s *v1alpha1.AuthorizationServer) { s.Annotations = map[string]string{"example.com/touched": "yes"} })
	w.waitForCondition(w.server, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	c := w.newClient()
	w.waitForCondition(c, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	w.renew(w.replica)
	w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestAnEntryThatAReplicaCannotReadIsItsClientsAlone(t *testing.T) {
	made := recordWrites(t)
	w := newEnv(t)
	hurt, other := w.readyClient(), w.readyClient()
	made.waitUntilQuiet(t)
	e := w.entry(internalv1alpha1.SpaceIdentity, hurt.Status.ClientID)
	updateObject(w, w.replica, func(r *internalv1alpha1.Replica) {
		r.Spec.Rejected = []internalv1alpha1.RejectedEntry{{Name: e.Name, ResourceVersion: e.ResourceVersion, Reason: "unknown member"}}
	})
	message := w.waitForCondition(hurt, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonEntryRejected)
	if !strings.Contains(message, "main-0") || !strings.Contains(message, "unknown member") {
		t.Error(message)
	}
	w.waitForCondition(hurt, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonEntryRejected)
	w.waitForCondition(other, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	updateObject(w, w.replica, func(r *internalv1alpha1.Replica) { r.Spec.Rejected = nil })
	w.waitForCondition(hurt, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}
