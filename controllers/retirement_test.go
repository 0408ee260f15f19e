package controllers

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

func TestWhenACredentialThatWasReplacedEnds(t *testing.T) {
	const overlap, maxOverlap = 24 * time.Hour, 168 * time.Hour
	after := planTime.Add
	used := func(d time.Duration) credentialUses {
		return credentialUses{last: map[string]time.Time{secretA: after(d)}}
	}
	elapsed := retirement{at: planTime, overlap: overlap}.retire(activeA)
	unused := retirement{planTime, maxOverlap, true}.retire(activeA)
	for name, c := range map[string]struct {
		credential documents.Credential
		uses       credentialUses
		want       time.Duration
	}{
		"Elapsed":                                 {elapsed, credentialUses{}, overlap},
		"Elapsed, in use":                         {elapsed, used(23 * time.Hour), overlap},
		"Unused":                                  {unused, credentialUses{}, overlap + 2*time.Hour},
		"Unused, used before it was replaced":     {unused, used(-50 * time.Hour), overlap + 2*time.Hour},
		"Unused, used later":                      {unused, used(10 * time.Hour), 36 * time.Hour},
		"Unused, in use to the end":               {unused, used(167 * time.Hour), maxOverlap},
		"Unused, a token server died":             {unused, credentialUses{possible: after(30 * time.Hour)}, 56 * time.Hour},
		"Unused, a token server does not tell":    {unused, credentialUses{possible: after(160 * time.Hour)}, maxOverlap},
		"Unused, another credential was used":     {unused, credentialUses{last: map[string]time.Time{secretB: after(20 * time.Hour)}}, overlap + 2*time.Hour},
		"Unused, used before a token server died": {unused, credentialUses{last: used(40 * time.Hour).last, possible: after(30 * time.Hour)}, 66 * time.Hour},
	} {
		if end := endOf(c.credential, c.uses, overlap); !end.Equal(after(c.want)) {
			t.Errorf("%s: it ends after %s, want %s", name, end.Sub(planTime), c.want)
		}
		for _, at := range []time.Duration{c.want - time.Second, c.want} {
			kept, ended := removeEnded([]documents.Credential{c.credential}, c.uses, overlap, after(at))
			if isOver := at == c.want; len(ended) > 0 != isOver || len(kept) > 0 == isOver {
				t.Errorf("%s: after %s %d are kept and %d have ended", name, at, len(kept), len(ended))
			}
		}
	}
}

func TestOnlyAScheduledRotationWaitsForTheEndOfUse(t *testing.T) {
	scheduled := compile.SecretRotation{Overlap: time.Hour, MaxOverlap: 10 * time.Hour}
	for name, c := range map[string]struct {
		cause     rotationCause
		whileUsed bool
	}{
		"scheduled": {rotationCause{text: "time"}, true}, "forced": {rotationCause{text: "edit", forced: true}, false}, "interrupted": {rotationCause{}, true},
	} {
		old := retireBy(scheduled, c.cause, planTime).retire(activeA)
		if isLong := retireAfter(old).Equal(planTime.Add(10 * time.Hour)); isLong != c.whileUsed || (parseCredentialSource(old.Source).replaced != 0) != c.whileUsed {
			t.Errorf("%s: %+v", name, old)
		}
	}
	if old := retireBy(compile.SecretRotation{Overlap: time.Hour}, rotationCause{text: "time"}, planTime).retire(activeA); !retireAfter(old).Equal(planTime.Add(time.Hour)) {
		t.Errorf("retireWhen Elapsed: %+v", old)
	}
}

func TestWhatIsStillUsedIsToldADayBeforeItEnds(t *testing.T) {
	const overlap, maxOverlap = 24 * time.Hour, 168 * time.Hour
	for name, c := range map[string]struct {
		whileUsed bool
		length    time.Duration
		warnAt    time.Duration
	}{"Elapsed": {false, overlap, 18 * time.Hour}, "Unused": {true, maxOverlap, 144 * time.Hour}} {
		old := retirement{planTime, c.length, c.whileUsed}.retire(activeA)
		find := func(at, used time.Duration) (int, time.Time) {
			found, next := findStillUsed([]documents.Credential{activeA, old}, credentialUses{last: map[string]time.Time{secretA: planTime.Add(used)}},
				overlap, maxOverlap, planTime.Add(at))
			return len(found), next
		}
		if n, next := find(c.warnAt-time.Second, c.warnAt); n > 0 || !next.Equal(planTime.Add(c.warnAt)) {
			t.Errorf("%s: %d before their time, and the next at %s", name, n, next.Sub(planTime))
		}
		if n, _ := find(c.warnAt, c.warnAt-time.Hour); n != 1 {
			t.Errorf("%s: %d that are used", name, n)
		}
		if n, _ := find(c.warnAt, c.warnAt-4*time.Hour); n != 0 {
			t.Errorf("%s: %d that are not used", name, n)
		}
	}
}

// reportingUsage creates the Usage with which the replica tells of all uses.
func (env *testEnv) reportingUsage(name string) *internalv1alpha1.Usage {
	env.t.Helper()
	usage := env.newUsage(name)
	updateObject(env, usage, func(u *internalv1alpha1.Usage) { u.Spec.IncompleteUntil = &metav1.Time{Time: time.Unix(0, 0)} })
	return usage
}

// rotatedClient returns a client of which one secret retires while it is used, and that credential.
func rotatedClient(env *testEnv) (*v1alpha1.OAuthClient, documents.Credential) {
	env.t.Helper()
	began := env.clock.now()
	c := env.readyClient(func(c *v1alpha1.OAuthClient) {
		c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate, Rotation: &v1alpha1.SecretRotation{
			Interval: &metav1.Duration{Duration: 2 * time.Hour}, Overlap: &metav1.Duration{Duration: time.Hour},
			RetireWhen: v1alpha1.RetireUnused, MaxOverlap: &metav1.Duration{Duration: 12 * time.Hour},
		}}
	})
	next := c.Status.NextRotation
	if next == nil || next.Sub(began) < 107*time.Minute || next.Sub(began) > 121*time.Minute {
		env.t.Fatalf("status.nextRotation is %v", next)
	}
	env.pass(c, next.Sub(env.clock.now())+2*time.Second)
	var retiring *documents.Credential
	eventually.True(env.t, "the secret is replaced", func() bool {
		retiring = findByState(env.document(c).Credentials, documents.CredentialRetiring)
		return retiring != nil
	})
	return c, *retiring
}

// pass has time go by, in which the replica renews itself, and has the manager look at the client.
func (env *testEnv) pass(c *v1alpha1.OAuthClient, d time.Duration) {
	env.t.Helper()
	for ; d > 0; d -= 20 * time.Minute {
		env.clock.move(min(d, 20*time.Minute))
		env.renew(env.replica)
	}
	touch(env, c)
	eventually.True(env.t, "the client was looked at", func() bool { env.get(c); return c.Status.ObservedGeneration == c.Generation })
}

func (env *testEnv) isGood(c *v1alpha1.OAuthClient, id string) bool {
	env.t.Helper()
	for _, credential := range env.document(c).Credentials {
		if credential.ID == id {
			return true
		}
	}
	return false
}

func TestASecretThatIsUsedNoMoreEndsAndOneThatIsUsedHourlyAtMaxOverlap(t *testing.T) {
	env := newEnv(t)
	usage := env.reportingUsage(env.replica.Name)
	c, unused := rotatedClient(env)
	env.pass(c, 2*time.Hour+40*time.Minute)
	if !env.isGood(c, unused.ID) {
		t.Fatal("it ended before overlap and two hours")
	}
	env.pass(c, 40*time.Minute)
	eventually.True(t, "what is not used ends", func() bool { return !env.isGood(c, unused.ID) })
	eventually.True(t, "an event says so", func() bool {
		return strings.Contains(strings.Join(env.eventsOf(c), "\n"), "Normal "+reasonCredentialEnded+" credential "+unused.ID)
	})

	c, used := rotatedClient(env)
	replaced := time.Unix(parseCredentialSource(used.Source).replaced, 0)
	for env.clock.now().Sub(replaced) < 11*time.Hour {
		updateObject(env, usage, func(u *internalv1alpha1.Usage) {
			u.Spec.Uses = []internalv1alpha1.CredentialUse{useOf(c.UID, used.ID, env.clock.now())}
		})
		env.pass(c, time.Hour)
		if !env.isGood(c, used.ID) {
			t.Fatalf("it ended %s after it was replaced, though it is used", env.clock.now().Sub(replaced))
		}
	}
	eventually.True(t, "an event warns that it ends", func() bool {
		return strings.Contains(strings.Join(env.eventsOf(c), "\n"), "Warning "+reasonCredentialInUse+" credential "+used.ID)
	})
	env.pass(c, 80*time.Minute)
	eventually.True(t, "it ends", func() bool { return !env.isGood(c, used.ID) })
}

// What a token server that is gone has seen is not known.
func TestATokenServerThatWasKilledOrIsCutOffCountsAsUse(t *testing.T) {
	env := newEnv(t)
	env.reportingUsage(env.replica.Name)
	c, retiring := rotatedClient(env)
	id := retiring.ID
	killed := env.newReplica("killed-0", maxResourceVersion)
	lost := env.reportingUsage(killed.Name)
	env.pass(c, 2*time.Hour) // it is cut off, and then gone
	eventually.True(t, "its objects are deleted", func() bool { env.renew(env.replica); return !env.exists(killed) && !env.exists(lost) })
	entry := env.entry(internalv1alpha1.SpaceIdentity, env.server.Spec.Issuer)
	until, err := time.Parse(time.RFC3339, entry.Annotations[unreportedAnnotation])
	if err != nil {
		t.Fatalf("it is not remembered that a token server was killed: %v", err)
	}
	env.pass(c, until.Add(3*time.Hour-10*time.Minute).Sub(env.clock.now())) // overlap and two hours later
	if !env.isGood(c, id) {
		t.Fatal("it ended though a token server that is gone may have seen a use")
	}
	env.pass(c, 20*time.Minute)
	eventually.True(t, "it ends", func() bool { return !env.isGood(c, id) })

	// One that lives and has never told, as one of an older version, counts as well.
	op := newOperator(env.manager.GetClient(), env.manager.GetAPIReader(), nil, Options{Now: env.clock.now})
	silent := env.newReplica("silent-0", maxResourceVersion)
	eventually.True(t, "one that does not tell counts as use now", func() bool {
		if op.List(t.Context(), &internalv1alpha1.ReplicaList{}, client.InNamespace(env.identity)) != nil {
			return false
		}
		until, err := op.unreportedUntil(t.Context(), &resolvedServer{object: env.server})
		return err == nil && env.clock.now().Sub(until) < time.Minute
	})
	ended := env.newUsage(silent.Name)
	updateObject(env, ended, func(u *internalv1alpha1.Usage) {
		u.Spec.IncompleteUntil, u.Spec.Ended = &metav1.Time{Time: time.Unix(0, 0)}, true
	})
	env.deleteObject(silent)
	eventually.True(t, "one that has ended in order does not", func() bool {
		env.renew(env.replica)
		until, err := op.unreportedUntil(t.Context(), &resolvedServer{object: env.server})
		return err == nil && until.Unix() <= 0
	})
}

func TestAMarkOfAKilledTokenServerThatIsNotWrittenIsWrittenLater(t *testing.T) {
	writes := recordWrites(t)
	env := newEnv(t)
	before := env.clock.now().Add(-time.Hour).UTC().Format(time.RFC3339)
	updateObject(env, env.entry(internalv1alpha1.SpaceIdentity, env.server.Spec.Issuer), func(e *internalv1alpha1.Entry) {
		e.Annotations = map[string]string{unreportedAnnotation: before}
	})
	op := newOperator(env.manager.GetClient(), env.manager.GetAPIReader(), nil, Options{Now: env.clock.now})
	cached := func() string {
		e, err := op.entries.Get(t.Context(), env.server, compile.IssuerName(env.server))
		if err != nil {
			t.Fatal(err)
		}
		return e.Annotations[unreportedAnnotation]
	}
	eventually.True(t, "the cache has the mark before", func() bool { return cached() == before })
	writes.limit(0)
	for range 2 {
		if err := op.rememberUnreported(t.Context(), env.server, &internalv1alpha1.Usage{}); err == nil {
			t.Error("the mark counts as written")
		}
	}
	if got := cached(); got != before {
		t.Errorf("the cache has the mark %q, which was not written", got)
	}
	writes.limit(-1)
	if err := op.rememberUnreported(t.Context(), env.server, &internalv1alpha1.Usage{}); err != nil {
		t.Fatal(err)
	}
	if env.entry(internalv1alpha1.SpaceIdentity, env.server.Spec.Issuer).Annotations[unreportedAnnotation] == before {
		t.Error("the mark is not written")
	}
}
