package controllers

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// crowd returns how many of some times are in the minute that has the most, and the first and last.
func crowd(times []time.Time) (most int, first, last time.Time) {
	slices.SortFunc(times, time.Time.Compare)
	from := 0
	for i, at := range times {
		for at.Sub(times[from]) >= time.Minute {
			from++
		}
		most = max(most, i-from+1)
	}
	return most, times[0], times[len(times)-1]
}

func TestAFleetRotatesOverTheLastTenthOfTheInterval(t *testing.T) {
	for interval, limit := range map[time.Duration]int{time.Hour: 120, 24 * time.Hour: 20, 720 * time.Hour: 4, 8760 * time.Hour: 3} {
		var times []time.Time
		for i := range 500 {
			uid := types.UID(fmt.Sprint("client ", i)) // random ones are five in a minute now and then
			at := scheduleRotation(planTime, interval, uid, time.Time{}, planTime)
			if again := scheduleRotation(planTime, interval, uid, time.Time{}, planTime.Add(interval-time.Second)); !again.Equal(at) {
				t.Fatalf("%s: the time moved from %s to %s", interval, at, again)
			}
			times = append(times, at)
		}
		most, first, last := crowd(times)
		if first.Before(planTime.Add(interval*9/10)) || last.After(planTime.Add(interval)) || last.Sub(first) < interval/12 {
			t.Errorf("%s: from %s to %s", interval, first.Sub(planTime), last.Sub(planTime))
		}
		if most > limit {
			t.Errorf("%s: %d of 500 clients rotate within a minute", interval, most)
		}
	}
}

// An interval that is set on old clients, or shortened, is over for all of them.
func TestAFleetThatIsOverdueDoesNotRotateAtOnce(t *testing.T) {
	const interval = 24 * time.Hour
	now := planTime.Add(1000 * time.Hour)
	var times []time.Time
	overdue := 0
	for range 500 {
		uid := uuid.NewUUID()
		at := scheduleRotation(planTime, interval, uid, time.Time{}, now)
		if at.Before(now.Add(-maxLateness)) || at.After(now.Add(interval/10)) {
			t.Fatalf("at %s", at.Sub(now))
		}
		if isDue(at, now) {
			overdue++
		} else if !isDue(scheduleRotation(planTime, interval, uid, time.Time{}, at.Add(time.Minute)), at.Add(time.Minute)) {
			t.Error("a pass that comes a minute late misses the rotation")
		}
		times = append(times, at)
	}
	if most, _, _ := crowd(times); most > 20 || overdue > 50 {
		t.Errorf("%d of 500 rotate within a minute, and %d at once", most, overdue)
	}
}

func TestAScheduledRotationWaitsWhileAnOldValueIsGood(t *testing.T) {
	const interval = time.Hour
	credentials := []documents.Credential{credentialFor(secretA, documents.CredentialActive, ""), credentialFor(secretB, documents.CredentialRetiring, "")}
	credentials[0].NotBefore, credentials[1].RetireAfter = planTime.Unix(), planTime.Add(3*time.Hour).Unix()
	if next := nextRotation(credentials, compile.SecretRotation{Interval: interval}, "uid", planTime); next.Before(planTime.Add(3 * time.Hour)) {
		t.Errorf("the next one is %s from now", next.Sub(planTime))
	}
	freeFrom := planTime.Add(3 * time.Hour)
	for range 100 {
		at := scheduleRotation(planTime, interval, uuid.NewUUID(), freeFrom, planTime)
		if at.Before(freeFrom) || at.After(freeFrom.Add(interval/10)) {
			t.Fatalf("at %s", at.Sub(planTime))
		}
	}
}

// made returns a credential that was made before planTime.
func made(c documents.Credential, before time.Duration) documents.Credential {
	c.NotBefore = planTime.Add(-before).Unix()
	return c
}

func credentialOf(i int, state string) documents.Credential {
	c := credentialFor(strings.Repeat(fmt.Sprint(i), 40), state, "")
	c.RetireAfter = planTime.Add(time.Hour).Unix()
	if state == documents.CredentialActive {
		c.Source, c.RetireAfter = "uid/7", 0
	}
	return c
}

// rotatingPlan plans for a client with a rotation.
func rotatingPlan(t *testing.T, r compile.SecretRotation, state secretState) credentialPlan {
	t.Helper()
	r.Overlap = 30 * time.Minute
	state.rotation, state.uid = r, types.UID("client")
	plan, err := planCredentials(state, planTime, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestWhyASecretIsReplaced(t *testing.T) {
	old := made(activeA, 2*time.Hour)
	at := func(revision int64) documents.Credential {
		c := old
		c.Source = credentialSource{revision: revision, written: parseSecretVersion("uid/7")}.String()
		return c
	}
	pending := made(pendingB, time.Second)
	pending.Source = "revision=3"
	hourly, revised := compile.SecretRotation{Interval: time.Hour}, compile.SecretRotation{Revision: 3}
	list := func(c ...documents.Credential) []documents.Credential { return c }
	fromSource := func(c documents.Credential) documents.Credential {
		c.Source = credentialSource{read: secretVersion{uid: "source", resourceVersion: "7", detail: "value"}}.String()
		return c
	}
	for name, c := range map[string]struct {
		rotation compile.SecretRotation
		state    secretState
		cause    string // "": the secret stays
	}{
		"nothing is asked": {compile.SecretRotation{}, secretState{credentials: list(old), target: targetIn()}, ""},
		"the interval is over, and a window comes around": {
			compile.SecretRotation{Interval: 2 * time.Hour}, secretState{credentials: list(made(activeA, 2*time.Hour)), target: targetIn()}, "interval",
		},
		"the interval is not over":              {hourly, secretState{credentials: list(made(activeA, 50*time.Minute)), target: targetIn()}, ""},
		"the interval is over, and one retires": {hourly, secretState{credentials: list(old, retiring(secretB, time.Minute)), target: targetIn()}, ""},
		"a revision is set":                     {revised, secretState{credentials: list(old), target: targetIn()}, "revision was raised to 3"},
		"a revision is raised":                  {revised, secretState{credentials: list(at(2)), target: targetIn()}, "revision was raised to 3"},
		"a revision is raised while one retires": {
			revised, secretState{credentials: list(at(2), retiring(secretB, time.Minute)), target: targetIn()}, "revision",
		},
		"a revision was acted on":           {revised, secretState{credentials: list(at(3)), target: targetIn()}, ""},
		"a revision is lowered":             {revised, secretState{credentials: list(at(4)), target: targetIn()}, ""},
		"a new client with a revision":      {revised, secretState{target: targetIn(isMissing)}, ""},
		"a revision, and a label is edited": {revised, secretState{credentials: list(at(2)), target: targetIn(isEdited), stored: secretA}, "revision"},
		"a revision, interrupted before the Secret was written": {
			revised, secretState{credentials: list(pending, at(2)), target: targetIn(), pending: secretB}, "revision",
		},
		"a revision, interrupted after the Secret was written": {
			revised, secretState{credentials: list(pending, at(2)), target: targetIn(isEdited), stored: secretB}, "",
		},
		"the value is edited":  {hourly, secretState{credentials: list(old), target: targetIn(isEdited), stored: secretB}, "was not what the operator wrote"},
		"the value is removed": {hourly, secretState{credentials: list(old), target: targetIn(isEdited)}, "was not what the operator wrote"},
		"an old value is put back": {
			hourly, secretState{credentials: list(old, retiring(secretB, time.Minute)), target: targetIn(isEdited), stored: secretB}, "was not what",
		},
		"the value came from fromSecret, and there is no target yet": {
			hourly, secretState{credentials: list(fromSource(old)), target: targetIn(isMissing)}, "source was FromSecret before",
		},
		"the Secret is deleted": {hourly, secretState{credentials: list(old), target: targetIn(isMissing)}, "was deleted"},
	} {
		plan := rotatingPlan(t, c.rotation, c.state)
		if c.cause == "" && plan.cause.isSet() || !strings.Contains(plan.cause.text, c.cause) {
			t.Errorf("%s: the cause is %q, want %q", name, plan.cause.text, c.cause)
		}
		if plan.cause.isSet() != (plan.isGenerated && len(c.state.credentials) > 0) {
			t.Errorf("%s: cause %q, and a new value is %v", name, plan.cause.text, plan.isGenerated)
		}
	}
}

// The Secret holds a new value from the time at which it is written, not from the plan.
func TestTheOverlapCountsFromWhenTheSecretWasWritten(t *testing.T) {
	plan := rotatingPlan(t, compile.SecretRotation{Revision: 1}, secretState{credentials: []documents.Credential{made(activeA, time.Hour)}, target: targetIn()})
	written := planTime.Add(10 * time.Minute)
	after := plan.credentialsAfterWrite(secretVersion{uid: "uid", resourceVersion: "9"}, written)
	if len(after) != 2 || after[1].ID != secretA || !retireAfter(after[1]).Equal(written.Add(30*time.Minute)) {
		t.Errorf("%+v", after)
	}
	if source := parseCredentialSource(after[0].Source); source.revision != 1 {
		t.Errorf("the revision is forgotten: %+v", source)
	}
}

func TestARevisionIsRememberedWhateverRotatesAfterwards(t *testing.T) {
	active := made(activeA, time.Hour)
	active.Source = "revision=5 uid/7"
	state := secretState{credentials: []documents.Credential{active}, target: targetIn(isEdited), stored: secretB} // an edit, with the revision lowered
	plan := rotatingPlan(t, compile.SecretRotation{Revision: 2}, state)
	after := plan.credentialsAfterWrite(secretVersion{uid: "uid", resourceVersion: "9"}, planTime)
	if source := parseCredentialSource(after[0].Source); source.revision != 5 {
		t.Errorf("%+v", source)
	}
}

func TestNoMoreThanFourValuesAreGoodAndTheOldestEnds(t *testing.T) {
	credentials := []documents.Credential{made(credentialOf(1, documents.CredentialActive), time.Hour)}
	for i := 2; i <= 4; i++ {
		credentials = append(credentials, made(credentialOf(i, documents.CredentialRetiring), time.Duration(i)*time.Hour))
	}
	fromSecret := secretState{credentials: credentials, fromSecret: sourceRef, source: readVersion, sourceValue: secretB}
	for name, plan := range map[string]credentialPlan{
		"generated":          rotatingPlan(t, compile.SecretRotation{}, secretState{credentials: credentials, target: targetIn(isMissing)}),
		"from a Secret":      rotatingPlan(t, compile.SecretRotation{}, fromSecret),
		"copied to a target": rotatingPlan(t, compile.SecretRotation{}, func() secretState { s := fromSecret; s.target = targetIn(); return s }()),
	} {
		if len(plan.credentials) != 4 || slices.ContainsFunc(plan.credentials, func(c documents.Credential) bool { return c.ID == credentials[3].ID }) {
			t.Errorf("%s: %s", name, listCredentials(plan.credentials, nil))
		}
		if len(plan.surplus) != 1 || plan.surplus[0].ID != credentials[3].ID || len(plan.ended) != 1 {
			t.Errorf("%s: %d end before their time", name, len(plan.surplus))
		}
	}
}

func TestAfterThreeForcedRotationsInTenMinutesTheyComeOnceAMinute(t *testing.T) {
	rotated := func(minutes ...int) (credentials []documents.Credential) { // how long ago each value was made, newest first
		for i, m := range minutes {
			state := documents.CredentialRetiring
			if i == 0 {
				state = documents.CredentialActive
			}
			credentials = append(credentials, made(credentialOf(i+1, state), time.Duration(m)*time.Minute+time.Second))
		}
		return credentials
	}
	for name, c := range map[string]struct {
		credentials []documents.Credential
		wait        time.Duration
	}{
		"new, two edits, a deletion": {rotated(0, 0, 0), 0},
		"the fourth":                 {rotated(0, 0, 0, 60), 59 * time.Second},
		"of a new client":            {rotated(0, 1, 2, 3), 59 * time.Second},
		"a minute later":             {rotated(1, 2, 3, 60), 0},
		"ten minutes later":          {rotated(0, 5, 11, 60), 0},
		"by a clock that was ahead":  {rotated(-30, -31, -32, 60), 0},
	} {
		edited := secretState{credentials: c.credentials, target: targetIn(isEdited), stored: secretA}
		plan := rotatingPlan(t, compile.SecretRotation{}, edited)
		switch {
		case c.wait == 0:
			if !plan.isGenerated || !plan.waitUntil.IsZero() {
				t.Errorf("%s: it waits until %s", name, plan.waitUntil)
			}
		case plan.isGenerated || plan.secret != "" || !plan.waitUntil.Equal(planTime.Add(c.wait)) || plan.condition.reason != v1alpha1.ReasonRotationLimited:
			t.Errorf("%s: a new value is %v, or after %s: %+v", name, plan.isGenerated, plan.waitUntil.Sub(planTime), plan.condition)
		}
		source := secretState{credentials: c.credentials, fromSecret: sourceRef, source: readVersion, sourceValue: secretA}
		if plan := rotatingPlan(t, compile.SecretRotation{}, source); (findBySecret(plan.credentials, secretA) == nil) != (c.wait > 0) {
			t.Errorf("%s: another value in the source: %s", name, listCredentials(plan.credentials, nil))
		}
		// What the Secret holds is good: a revision that is raised waits, and nothing is wrong.
		current := secretState{credentials: c.credentials, target: targetIn()}
		plan = rotatingPlan(t, compile.SecretRotation{Revision: 1}, current)
		if plan.isGenerated != (c.wait == 0) || !plan.condition.isTrue() || c.wait > 0 && !plan.waitUntil.Equal(planTime.Add(c.wait)) {
			t.Errorf("%s: a revision: a new value is %v, until %s, %+v", name, plan.isGenerated, plan.waitUntil, plan.condition)
		}
	}
}

func TestAValueThatAnInterruptedPassLeftPendingIsNoRotation(t *testing.T) {
	credentials := []documents.Credential{
		made(pendingB, time.Second),
		made(activeA, time.Minute),
		made(credentialOf(1, documents.CredentialRetiring), 2*time.Minute),
		made(credentialOf(2, documents.CredentialRetiring), time.Hour),
	}
	edited := secretState{credentials: credentials, target: targetIn(isEdited), stored: "what another program has written"}
	if plan := rotatingPlan(t, compile.SecretRotation{}, edited); !plan.isGenerated || !plan.waitUntil.IsZero() {
		t.Errorf("the third rotation in ten minutes waits until %s", plan.waitUntil)
	}
}

func TestAFromSecretValueThatRetiresIsActiveAgainHoweverQuicklyItReturns(t *testing.T) {
	var credentials []documents.Credential
	for i, state := range []string{documents.CredentialActive, documents.CredentialRetiring, documents.CredentialRetiring, documents.CredentialRetiring} {
		credentials = append(credentials, made(credentialOf(i+1, state), time.Second))
	}
	plan := rotatingPlan(t, compile.SecretRotation{}, secretState{
		credentials: credentials, fromSecret: sourceRef, source: readVersion, sourceValue: credentials[2].ID,
	})
	if c := findBySecret(plan.credentials, credentials[2].ID); c == nil || c.State != documents.CredentialActive || c.RetireAfter != 0 {
		t.Errorf("%+v", plan.credentials)
	}
	if c := findBySecret(plan.credentials, credentials[0].ID); c == nil || c.State != documents.CredentialRetiring || !retireAfter(*c).Equal(planTime.Add(30*time.Minute)) {
		t.Errorf("%+v", plan.credentials)
	}
}

func retireAfter(c documents.Credential) time.Time { return time.Unix(c.RetireAfter, 0) }

func TestARotationThatCannotBeMadeStaysOverdueInTheStatus(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	past, next := metav1.NewTime(now.Add(-time.Hour)), now.Add(72*time.Hour)
	for name, test := range map[string]struct {
		known       *metav1.Time
		computed    time.Time
		credentials condition
		want        int64
	}{
		"it was made":               {&past, next, secretReady("web-oauth"), next.Unix()},
		"another owns the Secret":   {&past, next, taken, past.Unix()},
		"and it is not due yet":     {&metav1.Time{Time: now.Add(time.Minute)}, next, taken, next.Unix()},
		"the interval was removed":  {&past, time.Time{}, taken, 0},
		"there was none before":     {nil, next, taken, next.Unix()},
		"nothing is known about it": {&past, next, condition{}, past.Unix()},
	} {
		s := &clientPass{nextRotation: test.computed, credentials: test.credentials}
		got := s.newNextRotation(test.known, now)
		if (got == nil) != (test.want == 0) || got != nil && got.Unix() != test.want {
			t.Errorf("%s: %v, want %d", name, got, test.want)
		}
	}
}

func TestOnlyAScheduledRotationIsNotForced(t *testing.T) {
	old := []documents.Credential{made(activeA, 2*time.Hour)}
	due := secretState{credentials: old, target: targetIn()}
	if cause := rotatingPlan(t, compile.SecretRotation{Interval: 2 * time.Hour}, due).cause; !cause.isSet() || cause.forced {
		t.Errorf("when its time has come: %+v", cause)
	}
	if cause := rotatingPlan(t, compile.SecretRotation{}, secretState{credentials: old, target: targetIn(isEdited), stored: secretB}).cause; !cause.isSet() || !cause.forced {
		t.Errorf("after an edit: %+v", cause)
	}
	quick := secretState{credentials: []documents.Credential{
		made(activeA, time.Second), made(retiring(secretB, time.Minute), 2*time.Second), made(retiring(secretB, time.Minute), 3*time.Second),
		made(retiring(secretB, time.Minute), time.Hour),
	}}
	if until := quick.waitUntil(rotationCause{text: "scheduled"}, planTime); !until.IsZero() {
		t.Errorf("a scheduled rotation waits until %s", until)
	}
	if until := quick.waitUntil(rotationCause{text: "forced", forced: true}, planTime); until.IsZero() {
		t.Error("a forced one does not wait")
	}
}

func TestASourceThatIsWrittenAgainWithTheSameValueIsNoRotation(t *testing.T) {
	state := secretState{credentials: []documents.Credential{made(activeA, time.Hour)}, fromSecret: sourceRef, source: readVersion, sourceValue: secretA}
	if plan := rotatingPlan(t, compile.SecretRotation{}, state); plan.cause.isSet() || len(plan.credentials) != 1 {
		t.Errorf("%+v", plan)
	}
}
