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

func (env *testEnv) setApplied(r *internalv1alpha1.Replica, version string) {
	env.t.Helper()
	updateObject(env, r, func(r *internalv1alpha1.Replica) { r.Spec.AppliedResourceVersion = version })
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
	env := newEnv(t)
	second := env.newReplica("main-1", maxResourceVersion)
	seen := []internalv1alpha1.Replica{*env.replica, *second}
	op := newOperator(lagging{seen: seen}, admin, nil, Options{Now: env.clock.now})
	if live, err := op.confirmLiveReplicas(t.Context(), env.server); err != nil || len(live) != 2 {
		t.Errorf("want both, got %v (%v)", live, err)
	}
	env.clock.move(10 * time.Minute)
	env.renew(env.replica) // the watch brings nothing of it
	if live, err := op.confirmLiveReplicas(t.Context(), env.server); err != nil || len(live) != 2 {
		t.Errorf("want the other too, of which nothing could be seen for ten minutes, got %v (%v)", live, err)
	}
	env.clock.move(replicaLifetime - time.Second)
	env.renew(env.replica)
	if _, err := op.confirmLiveReplicas(t.Context(), env.server); err != nil {
		t.Error(err)
	}
	env.clock.move(time.Second)
	live, err := op.confirmLiveReplicas(t.Context(), env.server)
	if err != nil || len(live) != 1 || live[0].Name != env.replica.Name {
		t.Errorf("want %s alone, got %v (%v)", env.replica.Name, live, err)
	}
	env.clock.move(replicaLifetime) // nor is the older version that the watch still shows a change
	if live, err := op.liveReplicas(t.Context(), env.server); err != nil || len(live) > 0 {
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
	k.op = newOperator(&k.lagging, nil, nil, Options{Now: clock})
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
		{replicaLifetime - time.Second, "10", "12", "ahead behind", "one has renewed itself"},
		{time.Second, "10", "12", "behind", "one has not for 30 seconds"},
		{replicaLifetime - 2*time.Second, "13", "12", "ahead behind", "it has again"},
		{time.Second, "13", "12", "ahead", "now it is the other way round"},
		{time.Hour, "13", "9", "", "no change, and an older version than was seen"},
	} {
		if got := k.live(t, step.after, ahead(step.ahead), behind(step.behind)); got != step.live {
			t.Errorf("step %d, %s: %q are live, want %q", i, step.what, got, step.live)
		}
	}
}

// When the API server was away, one replica reaches it before the others. They are alive, and
// decide when a key is used and which formats are written.
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
		{10 * time.Minute, "30", "31", "1", "", "the API server is away"},
		{time.Second, "30", "41", "1", "first second", "one is back"},
		{replicaLifetime - 2*time.Second, "30", "51", "1", "first second", "the other has time"},
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
			env := newEnv(t)
			renewed := metav1.NewMicroTime(time.Now().Add(off).UTC().Truncate(time.Microsecond))
			other := env.newReplica("other", "1", func(r *internalv1alpha1.Replica) { r.Spec.RenewTime = renewed })
			c := env.newClient()
			if message := env.waitForCondition(c, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonPending); !strings.Contains(message, "other") {
				t.Errorf("is not waited for: %s", message)
			}
			env.setApplied(other, maxResourceVersion)
			env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			env.setApplied(other, "1") // and now it dies
			time.Sleep(time.Second)    // the manager has seen it
			env.clock.move(replicaLifetime - 5*time.Second)
			env.renew(env.replica)
			updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
			env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}

func TestAReplicaThatWasKilledLeavesNothingForGood(t *testing.T) {
	env := newEnv(t)
	usage := func(name string) *internalv1alpha1.Usage {
		return env.newUsage(name, internalv1alpha1.CredentialUse{Owner: "c", ID: "c1", Time: metav1.NewTime(time.Now().UTC().Truncate(time.Hour))})
	}
	long := env.newReplica("killed-0", "1")
	gone := []client.Object{long, usage("killed-0"), usage("ended-0")} // the last ended in order, and left its Usage alone
	lives := usage(env.replica.Name)
	env.renew(env.replica)
	time.Sleep(time.Second) // the manager has seen them
	env.clock.move(30 * time.Minute)
	env.renew(env.replica)
	time.Sleep(time.Second)
	for _, o := range append(gone, lives) {
		if !env.exists(o) {
			t.Errorf("%T %s is gone after half an hour", o, o.GetName())
		}
	}
	lately := env.newReplica("killed-1", "1")
	kept := usage("ended-1")
	env.clock.move(deadReplicaRetention - 20*time.Minute)
	env.renew(env.replica)
	for _, o := range gone {
		eventually.True(t, "what the dead left behind to go", func() bool { return !env.exists(o) })
	}
	for _, o := range []client.Object{env.replica, lives, lately, kept} {
		if !env.exists(o) {
			t.Errorf("%T %s is gone", o, o.GetName())
		}
	}
}

// newUsage is what a token server tells of credentials.
func (env *testEnv) newUsage(name string, uses ...internalv1alpha1.CredentialUse) *internalv1alpha1.Usage {
	env.t.Helper()
	u := &internalv1alpha1.Usage{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: name, Labels: map[string]string{internalv1alpha1.ServerUIDLabel: string(env.server.UID)}},
		Spec:       internalv1alpha1.UsageSpec{ServerUID: env.server.UID, Uses: uses},
	}
	create(env.t, u)
	return u
}

func TestAManagerThatStartsDoesNotTakeADeadReplicaForAvailable(t *testing.T) {
	env, stop := newEnvWithStop(t)
	stop()
	dead := env.newReplica("dead-0", maxResourceVersion)
	env.deleteObject(env.replica)
	setCondition(env, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	startManager(t, env.clock.set)
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.TrustedProxies = []v1alpha1.CIDR{"10.0.0.0/8"} })
	env.waitForCondition(env.server, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	env.renew(dead)
	env.waitForCondition(env.server, v1alpha1.ConditionAvailable, metav1.ConditionTrue, v1alpha1.ReasonAvailable)
}

// setCondition of the server, as a manager before wrote it.
func setCondition(env *testEnv, kind string, status metav1.ConditionStatus, reason string) {
	env.t.Helper()
	env.get(env.server)
	meta.SetStatusCondition(&env.server.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: reason})
	if err := admin.Status().Update(env.t.Context(), env.server); err != nil {
		env.t.Fatal(err)
	}
}

func TestProgrammedWaitsForEveryLiveReplica(t *testing.T) {
	env := newEnv(t)
	second := env.newReplica("main-1", "1")
	c := env.newClient()
	message := env.waitForCondition(c, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonPending)
	if !strings.Contains(message, "main-1") {
		t.Error(message)
	}
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonPending)
	e := env.entry(internalv1alpha1.SpaceIdentity, c.Namespace+"."+c.Name)
	env.setApplied(second, e.ResourceVersion)
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	// A new generation counts anew; one that dies is waited for no more.
	env.newReplica("main-2", "1")
	env.renew(env.replica)
	time.Sleep(time.Second)                         // the manager has seen it
	env.clock.move(replicaLifetime - 6*time.Second) // it will be dead in a few seconds
	env.renew(env.replica)
	env.setApplied(second, maxResourceVersion)
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
	env.waitForCondition(c, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonPending)
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestProgrammedCountsAllThatDecidesAboutAClient(t *testing.T) {
	env := newEnv(t)
	api := env.newAPI(ordersAPI, "orders:read")
	env.waitForCondition(api, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	c := env.readyClient(func(c *v1alpha1.OAuthClient) { c.Spec.Scopes = []string{"orders:read", "orders:write"} }, func(*v1alpha1.OAuthClient) {
		updateObject(env, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = resourceScopes("orders:read", "orders:write") })
	})
	env.setApplied(env.replica, env.entry(internalv1alpha1.SpaceIdentity, c.Status.ClientID).ResourceVersion)
	updateObject(env, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = resourceScopes("orders:read") })
	env.waitForCondition(c, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonUnknownScope)
	updateObject(env, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = resourceScopes("orders:read", "orders:write") })
	env.waitForCondition(c, v1alpha1.ConditionResolvedRefs, metav1.ConditionTrue, v1alpha1.ReasonResolvedRefs)
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonPending) // the scope is not served yet
	env.setApplied(env.replica, maxResourceVersion)
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestProgrammedIsNotWithdrawnWhenAServerRestarts(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	c := env.readyClient()
	made.waitUntilQuiet(t)
	env.deleteObject(env.replica)
	env.waitForCondition(env.server, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Annotations = map[string]string{"example.com/touched": "yes"} })
	env.replica = env.newReplica("main-0", "1")
	env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	made.checkUntilQuiet(t, 2, "when the token server restarts")
	if n := len(made.matching("/oauthclients")); n > 0 {
		t.Errorf("clients' statuses were written %d times", n)
	}
	// But what is new waits, until there is a token server that is ready.
	updateObject(env, env.replica, func(r *internalv1alpha1.Replica) {
		r.Spec.Ready, r.Spec.AppliedResourceVersion, r.Spec.Problem = false, maxResourceVersion, "port 443 is taken"
	})
	message := env.waitForCondition(env.server, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonReplicaProblem)
	if !strings.Contains(message, "port 443 is taken") {
		t.Error(message)
	}
	late := env.newClient()
	env.waitForCondition(late, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	updateObject(env, env.replica, func(r *internalv1alpha1.Replica) { r.Spec.Ready = true })
	env.waitForCondition(late, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestAReplicaThatWasTakenForDeadCountsWhenItRenews(t *testing.T) {
	env := newEnv(t)
	env.clock.move(time.Hour)
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Annotations = map[string]string{"example.com/touched": "yes"} })
	env.waitForCondition(env.server, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	c := env.newClient()
	env.waitForCondition(c, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	env.renew(env.replica)
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestAnEntryThatAReplicaCannotReadIsItsClientsAlone(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	hurt, other := env.readyClient(), env.readyClient()
	made.waitUntilQuiet(t)
	e := env.entry(internalv1alpha1.SpaceIdentity, hurt.Status.ClientID)
	updateObject(env, env.replica, func(r *internalv1alpha1.Replica) {
		r.Spec.Rejected = []internalv1alpha1.RejectedEntry{{Name: e.Name, ResourceVersion: e.ResourceVersion, Reason: "unknown member"}}
	})
	message := env.waitForCondition(hurt, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonEntryRejected)
	if !strings.Contains(message, "main-0") || !strings.Contains(message, "unknown member") {
		t.Error(message)
	}
	env.waitForCondition(hurt, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonEntryRejected)
	env.waitForCondition(other, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	updateObject(env, env.replica, func(r *internalv1alpha1.Replica) { r.Spec.Rejected = nil })
	env.waitForCondition(hurt, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}
