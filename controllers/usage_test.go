package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

func useOf(owner types.UID, id string, at time.Time) internalv1alpha1.CredentialUse {
	return internalv1alpha1.CredentialUse{Owner: owner, ID: id, Time: metav1.NewTime(at.UTC().Truncate(time.Hour))}
}

func TestTheLastUseOfAnActiveCredentialIsToldOnceADay(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	c := env.readyClient()
	id := c.Status.Credentials[0].ID
	told := func() *metav1.Time { env.get(c); return c.Status.Credentials[0].LastUsed }
	first := time.Now().UTC().Truncate(time.Hour).Add(-72 * time.Hour)
	made.waitUntilQuiet(t) // of a use that comes before the credential in the status the next Usage tells
	u := env.newUsage(env.replica.Name, useOf("another", id, first), useOf(c.UID, id, first))
	use := func(at time.Time) {
		updateObject(env, u, func(u *internalv1alpha1.Usage) { u.Spec.Uses = []internalv1alpha1.CredentialUse{useOf(c.UID, id, at)} })
	}
	eventually.True(t, "the first use is told", func() bool { return told() != nil && told().Time.Equal(first) })
	made.waitUntilQuiet(t)
	use(first.Add(time.Hour))
	use(first.Add(23 * time.Hour))
	time.Sleep(300 * time.Millisecond)
	if at := told(); !at.Time.Equal(first) {
		t.Errorf("a use on the same day was told: %s", at)
	}
	use(first.Add(24 * time.Hour))
	eventually.True(t, "a use a day later is told", func() bool { return told().Time.Equal(first.Add(24 * time.Hour)) })
	use(first.Add(48 * time.Hour))
	eventually.True(t, "one of two days later is told", func() bool { return told().Time.Equal(first.Add(48 * time.Hour)) })
	use(time.Now().Add(1000 * time.Hour)) // the replica's clock is wrong
	eventually.True(t, "a use is told, and not as one of the future", func() bool {
		return told().After(first.Add(48*time.Hour)) && !told().After(time.Now())
	})
	last := told().DeepCopy()
	env.deleteObject(u)
	env.deleteObject(env.replica)
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
	eventually.True(t, "it was looked at", func() bool { env.get(c); return c.Status.ObservedGeneration == c.Generation })
	if at := told(); at == nil || !at.Equal(last) {
		t.Errorf("the last use was forgotten with the replica that told it: %v", at)
	}
}

func TestTheLastUseOfARetiringCredentialIsToldOnceAnHour(t *testing.T) {
	told := metav1.NewTime(time.Now().UTC().Truncate(time.Hour))
	for state, step := range map[v1alpha1.CredentialState]time.Duration{
		v1alpha1.CredentialRetiring: time.Hour, v1alpha1.CredentialActive: 24 * time.Hour, v1alpha1.CredentialPending: 24 * time.Hour,
	} {
		if !isMuchLater(state, nil, told.Time) || isMuchLater(state, &told, told.Add(step-time.Hour)) || !isMuchLater(state, &told, told.Add(step)) {
			t.Errorf("%s: not once every %s", state, step)
		}
	}
}

func TestWhatATokenServerOfAnotherNamespaceTellsOfAClientIsNotBelieved(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient()
	u := &internalv1alpha1.Usage{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "main-0"},
		Spec:       internalv1alpha1.UsageSpec{ServerUID: env.server.UID, Uses: []internalv1alpha1.CredentialUse{useOf(c.UID, c.Status.Credentials[0].ID, time.Now())}},
	}
	r := &internalv1alpha1.Replica{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "main-0"},
		Spec:       internalv1alpha1.ReplicaSpec{ServerUID: env.server.UID, RenewTime: newRenewTime(), AppliedResourceVersion: "1"},
	}
	create(t, u, r)
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if c.Status.Credentials[0].LastUsed != nil {
		t.Errorf("was told: %s", c.Status.Credentials[0].LastUsed)
	}
}

// With ten thousand clients that are in use all the time, at several replicas, a status is written
// less than once a second: at the beginning, when all of them are news, and later.
func TestTheUsesOfTenThousandBusyClientsAreToldOverTime(t *testing.T) {
	const clients, replicas, hours = 10_000, 3, 72
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	reports := newUsageReports(func() time.Time { return now })
	keys := make([]client.ObjectKey, clients)
	told := map[client.ObjectKey]time.Time{}
	perHour := make([]int, hours)
	for i := range keys {
		keys[i] = client.ObjectKey{Name: fmt.Sprint(i)}
	}
	for hour := range hours {
		used := now
		reports.removeExpired()
		waiting := map[client.ObjectKey]bool{}
		for i := range replicas { // each brings another thousand every hour
			for j := range internalv1alpha1.MaxUses {
				key := keys[(hour*internalv1alpha1.MaxUses*replicas+i*internalv1alpha1.MaxUses+j)%clients]
				if last, is := told[key]; !is || used.Sub(last) >= minUseStep {
					reports.schedule(key)
					waiting[key] = true
				}
			}
		}
		for range 3600 {
			now = now.Add(time.Second)
			second := 0
			for key := range waiting {
				if !reports.dueAt(key).After(now) {
					told[key] = used
					reports.finish(key)
					delete(waiting, key)
					second++
				}
			}
			if perHour[hour] += second; second > 1 {
				t.Fatalf("%d writes in one second of hour %d", second, hour)
			}
		}
	}
	if len(told) != clients {
		t.Errorf("of %d clients the last use was told", len(told))
	}
	if sum := slices.Max(perHour); sum >= 3600 || sum == 0 {
		t.Errorf("%d writes in an hour", sum)
	}
	t.Logf("writes of statuses in each hour: %v", perHour)
}

func TestASecretThatComesByTheWrongMethodIsAnEventOnItsClient(t *testing.T) {
	env := newEnv(t)
	c, other := env.readyClient(), env.readyClient()
	use := useOf(c.UID, c.Status.Credentials[0].ID, time.Now())
	use.RefusedMethod = "client_secret_post"
	told := func() int {
		n := 0
		for _, e := range env.eventsOf(c) {
			if strings.Contains(e, "Warning "+reasonWrongMethod) && strings.Contains(e, "client_secret_post") && strings.Contains(e, "client_secret_basic") {
				n++
			}
		}
		return n
	}
	u := env.newUsage(env.replica.Name, use)
	eventually.True(t, "the event is there", func() bool { return told() == 1 })
	env.get(c)
	if c.Status.Credentials[0].LastUsed != nil {
		t.Error("a request that was refused counts as use")
	}
	updateObject(env, u, func(u *internalv1alpha1.Usage) { // some more of the same day
		again := use
		again.Time = metav1.NewTime(use.Time.Add(time.Hour))
		u.Spec.Uses = []internalv1alpha1.CredentialUse{again}
	})
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if n := told(); n != 1 {
		t.Errorf("%d events in a day", n)
	}
	if events := env.eventsOf(other); slices.ContainsFunc(events, func(e string) bool { return strings.Contains(e, reasonWrongMethod) }) {
		t.Errorf("on another client: %q", events)
	}
}

func TestAMethodThatIsRefusedIsReportedOnceADay(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	recorder := events.NewFakeRecorder(10)
	r := &clientReconciler{operator: newOperator(nil, nil, recorder, Options{Now: func() time.Time { return now }})}
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{UID: "uid"}}
	c.Spec.TokenEndpointAuthMethod, c.Status.Credentials = v1alpha1.AuthMethodPrivateKey, []v1alpha1.CredentialStatus{{ID: "c"}}
	reported := func(method v1alpha1.TokenEndpointAuthMethod) int {
		before := len(recorder.Events)
		use := useOf(c.UID, "c", now)
		use.RefusedMethod = string(method)
		r.reportRefusal(c, use)
		return len(recorder.Events) - before
	}
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {time.Second, 0}, {24*time.Hour - 2*time.Second, 0}, {time.Second, 1}, {time.Hour, 0}} {
		now = now.Add(step.after)
		r.usageReports.removeExpired()
		for _, method := range []v1alpha1.TokenEndpointAuthMethod{v1alpha1.AuthMethodBasic, v1alpha1.AuthMethodPost} {
			if n := reported(method); n != step.want {
				t.Errorf("%s later: %d events about %s, want %d", step.after, n, method, step.want)
			}
		}
	}
}

// The queue keeps one pass over a client, the sooner one: the uses of two credentials have one
// slot, and a client that is reconciled before its slot keeps it.
func TestTheLastUseIsReportedThoughTheClientIsReconciledBeforeItsSlot(t *testing.T) {
	env := newEnv(t)
	first, second := env.readyClient(), env.readyClient()
	used := time.Now().UTC().Truncate(time.Hour)
	env.newUsage(env.replica.Name,
		useOf(first.UID, first.Status.Credentials[0].ID, used), useOf(first.UID, first.Status.Credentials[0].ID, used),
		useOf(second.UID, second.Status.Credentials[0].ID, used), useOf(second.UID, second.Status.Credentials[0].ID, used))
	for range 5 {
		updateObject(env, second, func(c *v1alpha1.OAuthClient) {
			c.Labels = map[string]string{"touched": fmt.Sprint(time.Now().UnixNano())}
		})
	}
	for _, c := range []*v1alpha1.OAuthClient{first, second} {
		eventually.True(t, "the last use is told", func() bool { env.get(c); return c.Status.Credentials[0].LastUsed != nil })
	}
}

// A token server that was taken over, or has a fault, may write anything into its Usage.
func TestNothingThatAUsageListsMakesMoreThanOneEventADayOnAClient(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient()
	now, id := time.Now(), c.Status.Credentials[0].ID
	refused := func(id, method string, at time.Time) internalv1alpha1.CredentialUse {
		use := useOf(c.UID, id, at)
		use.RefusedMethod = method
		return use
	}
	uses := []internalv1alpha1.CredentialUse{
		refused("another", "client_secret_post", now), refused(id, "none", now), refused(id, "client_secret_post", now.Add(-25*time.Hour)),
	}
	for i := range 100 {
		uses = append(uses, refused(id, fmt.Sprintf("visit https://evil.example/%d", i), now))
	}
	u := env.newUsage(env.replica.Name, uses...)
	time.Sleep(time.Second)
	updateObject(env, u, func(u *internalv1alpha1.Usage) {
		u.Spec.Uses = append(u.Spec.Uses, refused(id, "client_secret_post", now), refused(id, "client_secret_post", now.Add(time.Hour)))
	})
	var told []string
	eventually.True(t, "what is true is told", func() bool {
		told = slices.DeleteFunc(env.eventsOf(c), func(e string) bool { return !strings.Contains(e, reasonWrongMethod) })
		return len(told) > 0
	})
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	time.Sleep(time.Second)
	told = slices.DeleteFunc(env.eventsOf(c), func(e string) bool { return !strings.Contains(e, reasonWrongMethod) })
	if len(told) != 1 || !strings.Contains(told[0], "client_secret_post") {
		t.Errorf("%d events: %q", len(told), told[:min(3, len(told))])
	}
}

func TestTheStatusKeepsTheLastUseOfWhatIsStillServed(t *testing.T) {
	at := metav1.NewTime(time.Now())
	got := newCredentialStatus([]documents.Credential{{ID: "a"}, {ID: "b"}}, []v1alpha1.CredentialStatus{{ID: "b", LastUsed: &at}, {ID: "c", LastUsed: &at}})
	if len(got) != 2 || got[0].LastUsed != nil || got[1].LastUsed != &at {
		t.Errorf("%+v", got)
	}
}
