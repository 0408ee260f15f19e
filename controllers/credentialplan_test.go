package controllers

import (
	"crypto/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

var planTime = time.Unix(1700000000, 0)

// credentialFor returns the credential of a secret, whose id is the secret.
func credentialFor(secret, state, source string) documents.Credential {
	return documents.Credential{ID: secret, SHA256: hashSecret(secret), State: state, Source: source}
}

func retiring(secret string, end time.Duration) documents.Credential {
	c := credentialFor(secret, documents.CredentialRetiring, "")
	c.RetireAfter = planTime.Add(end).Unix()
	return c
}

// targetIn returns a target that the manager has written as "uid/7", changed by edit.
func targetIn(edit ...func(*secretTarget)) *secretTarget {
	t := &secretTarget{spec: &v1alpha1.SecretTarget{Name: "target"}, isOwn: true, metadata: &metav1.PartialObjectMetadata{}}
	t.metadata.UID, t.metadata.ResourceVersion = "uid", "7"
	t.metadata.Annotations = map[string]string{contentAnnotation: t.content.hash()}
	for _, f := range edit {
		f(t)
	}
	return t
}

func isMissing(t *secretTarget) { t.metadata, t.isOwn = nil, false }
func isEdited(t *secretTarget)  { t.metadata.ResourceVersion = "8" }
func isForeign(t *secretTarget) { t.isOwn, t.isAdopted = false, true }

// Secrets in the tests, long enough to be accepted.
const (
	secretA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	secretB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

var (
	activeA     = credentialFor(secretA, documents.CredentialActive, "uid/7")
	pendingB    = credentialFor(secretB, documents.CredentialPending, "")
	taken       = falseCondition(v1alpha1.ReasonSecretExists, "taken")
	missing     = falseCondition(v1alpha1.ReasonSecretNotFound, "missing")
	sourceRef   = &compile.SecretKey{Ref: v1alpha1.SecretKeyReference{Name: "source", Key: "key"}, Field: "spec.secret.fromSecret"}
	readVersion = secretVersion{uid: "src", resourceVersion: "3", detail: "key"}
)

// wantedPlan describes a plan by what it writes. A credential is its state and its id, which is
// "new" for a generated one.
type wantedPlan struct {
	dryRun      bool
	first       string // the credentials that are written before the Secret
	secret      string // that is written to the target; "new" for a generated one
	last        string // the credentials after the Secret is written
	kept        []string
	keepsAll    bool
	reason      string
	source      string // of the Active credential afterwards
	isGenerated bool
}

func listCredentials(credentials []documents.Credential, known []string) string {
	var list []string
	for _, c := range credentials {
		id := "new"
		if slices.Contains(known, c.ID) {
			id = c.ID[:1]
		}
		list = append(list, c.State+" "+id)
	}
	return strings.Join(list, ", ")
}

// expectPlan plans, and compares what the plan writes.
func expectPlan(t *testing.T, name string, state secretState, want wantedPlan) {
	t.Helper()
	known := []string{secretA, secretB}
	before := slices.Clone(state.credentials)
	plan, err := planCredentials(state, planTime, rand.Reader)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !reflect.DeepEqual(state.credentials, before) {
		t.Errorf("%s: the credentials that were given are now %+v", name, state.credentials)
	}
	last := plan.credentials
	got := wantedPlan{
		dryRun: plan.dryRun, first: listCredentials(plan.credentials, known), kept: plan.kept, keepsAll: !plan.deletesOthers,
		reason: plan.condition.reason, isGenerated: plan.isGenerated,
	}
	if plan.secret != "" {
		got.secret = plan.secret
		if !slices.Contains(known, plan.secret) {
			got.secret = "new"
		}
		last = plan.credentialsAfterWrite(secretVersion{uid: "uid", resourceVersion: "9"}, planTime)
		if c := findByState(last, documents.CredentialActive); c == nil || c.SHA256 != hashSecret(plan.secret) {
			t.Errorf("%s: the Secret holds another value than the Active credential, %+v", name, c)
		}
	}
	got.last = listCredentials(last, known)
	if c := findByState(last, documents.CredentialActive); c != nil {
		got.source = c.Source
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
	}
}

func TestThePlanOfAGeneratedSecret(t *testing.T) {
	ready, target := v1alpha1.ReasonSecretReady, []string{"target"}
	replaced := wantedPlan{
		dryRun: true, first: "Pending new, Active a", secret: "new", last: "Active new, Retiring a", kept: target, reason: ready, source: "uid/9", isGenerated: true,
	}
	created := replaced
	created.first, created.last = "Pending new", "Active new"
	kept := wantedPlan{first: "Active a", secret: secretA, last: "Active a", kept: target, reason: ready, source: "uid/9"}
	adopted := kept
	adopted.dryRun, adopted.first, adopted.last = true, "Pending new", "Active new"
	for name, c := range map[string]struct {
		state secretState
		want  wantedPlan
	}{
		"a new client": {secretState{target: targetIn(isMissing)}, created},
		"a new client, interrupted before its hash was served": {
			secretState{target: targetIn(isMissing), pending: secretB},
			wantedPlan{dryRun: true, first: "Pending new", secret: secretB, last: "Active new", kept: target, reason: ready, source: "uid/9", isGenerated: true},
		},
		"a new client, interrupted before its Secret was written": {
			secretState{credentials: []documents.Credential{pendingB}, target: targetIn(isMissing), pending: secretB},
			wantedPlan{first: "Pending b", secret: secretB, last: "Active b", kept: target, reason: ready, source: "uid/9", isGenerated: true},
		},
		"interrupted after its Secret was written": {
			secretState{credentials: []documents.Credential{pendingB, activeA}, target: targetIn(isEdited), stored: secretB},
			wantedPlan{first: "Pending b, Active a", secret: secretB, last: "Active b, Retiring a", kept: target, reason: ready, source: "uid/9"},
		},
		"as it should be": {
			secretState{credentials: []documents.Credential{activeA}, target: targetIn()},
			wantedPlan{first: "Active a", last: "Active a", kept: target, reason: ready, source: "uid/7"},
		},
		"as it should be, with a Pending credential of an interrupted pass": {
			secretState{credentials: []documents.Credential{pendingB, activeA}, target: targetIn()},
			wantedPlan{first: "Active a", last: "Active a", kept: target, reason: ready, source: "uid/7"},
		},
		"labels or other keys are edited": {
			secretState{credentials: []documents.Credential{activeA}, target: targetIn(isEdited), stored: secretA}, kept,
		},
		"the spec asks for other content": {
			secretState{credentials: []documents.Credential{activeA}, target: targetIn(func(t *secretTarget) {
				t.content.labels = map[string]string{"a": "b"}
			}), stored: secretA}, kept,
		},
		"the value is edited":  {secretState{credentials: []documents.Credential{activeA}, target: targetIn(isEdited), stored: secretB}, replaced},
		"the value is removed": {secretState{credentials: []documents.Credential{activeA}, target: targetIn(isEdited)}, replaced},
		"the Secret is deleted": {
			secretState{credentials: []documents.Credential{activeA}, target: targetIn(isMissing)}, replaced,
		},
		"the target is renamed": {
			secretState{credentials: []documents.Credential{credentialFor(secretA, documents.CredentialActive, "old/7")}, target: targetIn(isMissing), previous: secretA},
			kept,
		},
		"the target is renamed, and the other Secret edited": {
			secretState{credentials: []documents.Credential{activeA}, target: targetIn(isMissing), previous: secretB}, replaced,
		},
		"the secret was a user's, and is copied to the target": {
			secretState{credentials: []documents.Credential{credentialFor(secretA, documents.CredentialActive, "src/3/key uid/7")}, target: targetIn(), stored: secretA}, kept,
		},
		"the Entry is lost":                        {secretState{target: targetIn(isEdited), stored: secretA}, adopted},
		"the Entry is lost, and the value is weak": {secretState{target: targetIn(isEdited), stored: "weak"}, created},
		"a Secret to adopt":                        {secretState{target: targetIn(isForeign), stored: secretA}, adopted},
		"a Secret to adopt without a value":        {secretState{target: targetIn(isForeign)}, created},
		"a Secret to adopt with a weak value": {
			secretState{credentials: []documents.Credential{activeA}, target: targetIn(isForeign), stored: "weak"},
			wantedPlan{first: "Active a", last: "Active a", keepsAll: true, reason: v1alpha1.ReasonWeakSecret, source: "uid/7"},
		},
		"a Secret that must not be written": {
			secretState{credentials: []documents.Credential{activeA}, target: targetIn(isForeign), targetProblem: taken},
			wantedPlan{first: "Active a", last: "Active a", keepsAll: true, reason: v1alpha1.ReasonSecretExists, source: "uid/7"},
		},
	} {
		c.state.rotation = compile.SecretRotation{Overlap: time.Hour}
		expectPlan(t, name, c.state, c.want)
	}
}

func TestThePlanOfASecretThatAUserWrote(t *testing.T) {
	ready := v1alpha1.ReasonSecretReady
	read := credentialFor(secretA, documents.CredentialActive, "src/3/key")
	copied := credentialFor(secretA, documents.CredentialActive, "src/3/key uid/7")
	for name, c := range map[string]struct {
		state secretState
		want  wantedPlan
	}{
		"new": {
			secretState{sourceValue: secretA},
			wantedPlan{first: "Active new", last: "Active new", kept: []string{"source"}, reason: ready, source: "src/3/key"},
		},
		"instead of a generated one": {
			secretState{credentials: []documents.Credential{activeA}, sourceValue: secretB},
			wantedPlan{first: "Active new, Retiring a", last: "Active new, Retiring a", kept: []string{"source"}, reason: ready, source: "src/3/key"},
		},
		"in force": {
			secretState{credentials: []documents.Credential{read}},
			wantedPlan{first: "Active a", last: "Active a", kept: []string{"source"}, reason: ready, source: "src/3/key"},
		},
		"copied for the first time": {
			secretState{credentials: []documents.Credential{read}, sourceValue: secretA, target: targetIn(isMissing)},
			wantedPlan{first: "Active a", secret: secretA, last: "Active a", kept: []string{"source", "target"}, reason: ready, source: "src/3/key uid/9"},
		},
		"copied and in force": {
			secretState{credentials: []documents.Credential{copied}, target: targetIn()},
			wantedPlan{first: "Active a", last: "Active a", kept: []string{"source", "target"}, reason: ready, source: "src/3/key uid/7"},
		},
		"another value, copied without asking first, since its readers use it": {
			secretState{credentials: []documents.Credential{credentialFor(secretA, documents.CredentialActive, "src/2/key uid/7")}, sourceValue: secretB, target: targetIn()},
			wantedPlan{first: "Pending new, Active a", secret: secretB, last: "Active new, Retiring a", kept: []string{"source", "target"}, reason: ready, source: "src/3/key uid/9"},
		},
		"no copy any more": {
			secretState{credentials: []documents.Credential{copied}, sourceValue: secretA},
			wantedPlan{first: "Active a", last: "Active a", kept: []string{"source"}, reason: ready, source: "src/3/key"},
		},
		"the copy must not be written": {
			secretState{credentials: []documents.Credential{activeA}, sourceValue: secretB, target: targetIn(isForeign), targetProblem: taken},
			wantedPlan{first: "Active new, Retiring a", last: "Active new, Retiring a", keepsAll: true, reason: v1alpha1.ReasonSecretExists, source: "src/3/key"},
		},
		"in force, and the name of the copy is reserved": {
			secretState{credentials: []documents.Credential{read}, targetProblem: taken},
			wantedPlan{first: "Active a", last: "Active a", keepsAll: true, reason: v1alpha1.ReasonSecretExists, source: "src/3/key"},
		},
		"the source is missing": {
			secretState{credentials: []documents.Credential{copied}, target: targetIn(), sourceProblem: missing},
			wantedPlan{first: "Active a", last: "Active a", keepsAll: true, reason: v1alpha1.ReasonSecretNotFound, source: "src/3/key uid/7"},
		},
		"the value is weak": {
			secretState{credentials: []documents.Credential{credentialFor(secretA, documents.CredentialActive, "src/2/key")}, sourceValue: "weak"},
			wantedPlan{first: "Active a", last: "Active a", keepsAll: true, reason: v1alpha1.ReasonWeakSecret, source: "src/2/key"},
		},
		"a value that retires": {
			secretState{credentials: []documents.Credential{activeA, retiring(secretB, time.Hour)}, sourceValue: secretB},
			wantedPlan{first: "Active b, Retiring a", last: "Active b, Retiring a", kept: []string{"source"}, reason: ready, source: "src/3/key"},
		},
	} {
		c.state.fromSecret = sourceRef
		if c.state.source = readVersion; c.state.sourceValue != "" {
			if c.state.knownSource() == readVersion {
				t.Errorf("%s: the value is read, though it is known", name)
			}
		}
		expectPlan(t, name, c.state, c.want)
	}
}

func TestThePlanOfAPublicClient(t *testing.T) {
	expectPlan(t, "public", secretState{withoutSecret: "none"}, wantedPlan{reason: v1alpha1.ReasonNotNeeded})
}

func TestARetiringCredentialStaysUntilItsTimeAndIsThenRemoved(t *testing.T) {
	states := map[string]secretState{
		"as it should be":                   {target: targetIn()},
		"a Secret that must not be written": {target: targetIn(isForeign), targetProblem: taken},
		"a Secret that is written":          {target: targetIn(isEdited), stored: secretA},
		"a source that is missing":          {fromSecret: sourceRef, sourceProblem: missing},
	}
	for name, state := range states {
		state.credentials = []documents.Credential{
			activeA, retiring("long", time.Hour), retiring("short", time.Minute), retiring("ended", 0), credentialFor("without an end", documents.CredentialRetiring, ""),
		}
		plan, err := planCredentials(state, planTime, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{secretA, "long", "short"}
		after := plan.credentials
		if plan.secret != "" {
			after = plan.credentialsAfterWrite(secretVersion{}, planTime)
		}
		for _, list := range [][]documents.Credential{plan.credentials, after} {
			var ids []string
			for _, c := range list {
				ids = append(ids, c.ID)
			}
			if !slices.Equal(ids, want) {
				t.Errorf("%s: credentials %q, want %q", name, ids, want)
			}
		}
		if end := planTime.Add(time.Minute); !nextEnd(after, credentialUses{}, time.Hour).Equal(end) {
			t.Errorf("%s: the next ends at %s, want %s", name, nextEnd(after, credentialUses{}, time.Hour), end)
		}
	}
}

func TestAValueWhoseCredentialHasEndedIsNotInForceAgain(t *testing.T) {
	state := secretState{credentials: []documents.Credential{retiring(secretA, -time.Second)}, target: targetIn(isEdited), stored: secretA}
	plan, err := planCredentials(state, planTime, rand.Reader)
	if err != nil || !plan.isGenerated || plan.secret == secretA || findBySecret(plan.credentials, secretA) != nil {
		t.Errorf("%+v, %v", plan.credentials, err)
	}
}

// The Secret that was the target before may have been edited since: another program has put back what
// it held once.
func TestAFormerTargetLendsTheActiveValueAndNoneThatRetires(t *testing.T) {
	credentials := []documents.Credential{activeA, retiring(secretB, time.Hour)}
	for value, isLent := range map[string]bool{secretA: true, secretB: false, "": false} {
		state := secretState{credentials: credentials, target: targetIn(isMissing), previous: value}
		plan, err := planCredentials(state, planTime, rand.Reader)
		if err != nil || plan.isGenerated == isLent || (plan.secret == value) != isLent {
			t.Errorf("of a former target with %q: it is lent is %v: %+v, %v", value, plan.secret == value, plan, err)
		}
	}
}

func TestNothingIsPlannedWithoutRandomness(t *testing.T) {
	for name, state := range map[string]secretState{
		"generated":          {target: targetIn(isMissing)},
		"generated before":   {target: targetIn(isMissing), pending: secretB},
		"from a Secret":      {fromSecret: sourceRef, source: readVersion, sourceValue: secretA},
		"copied to a target": {fromSecret: sourceRef, source: readVersion, sourceValue: secretA, target: targetIn(isMissing)},
	} {
		if _, err := planCredentials(state, planTime, strings.NewReader("")); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A manager that stopped after it had written the Secret has left the value Pending, and Pods have
// read it since. One that stopped before has not.
func TestAPendingValueThatTheSecretMayHaveHeldStaysGoodForTheOverlap(t *testing.T) {
	const secretC = "cccccccccccccccccccccccccccccccc"
	pending := []documents.Credential{pendingB, activeA}
	raised := compile.SecretRotation{Revision: 1, Overlap: time.Hour}
	for name, c := range map[string]struct {
		state secretState
		stays bool
	}{
		"it is there, and the revision is raised": {secretState{credentials: pending, target: targetIn(isEdited), stored: secretB, rotation: raised}, true},
		"an edit has replaced it":                 {secretState{credentials: pending, target: targetIn(isEdited), stored: secretC}, true},
		"the Secret was deleted":                  {secretState{credentials: pending, target: targetIn(isMissing)}, true},
		"the source has another value":            {secretState{credentials: pending, fromSecret: sourceRef, source: readVersion, sourceValue: secretC}, true},
		"the source has another value to copy": {
			secretState{credentials: pending, fromSecret: sourceRef, source: readVersion, sourceValue: secretC, target: targetIn(isEdited)}, true,
		},
		"the Secret is as it was": {secretState{credentials: pending, target: targetIn(), rotation: raised}, false},
		"the Secret has the value before": {
			secretState{credentials: pending, target: targetIn(isEdited), stored: secretA, rotation: raised}, false,
		},
	} {
		c.state.rotation.Overlap = time.Hour
		plan, err := planCredentials(c.state, planTime, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		after := plan.credentials
		if plan.secret != "" {
			after = plan.credentialsAfterWrite(secretVersion{uid: "uid", resourceVersion: "9"}, planTime)
		}
		found := findBySecret(after, secretB)
		if c.stays != (found != nil && found.State == documents.CredentialRetiring && time.Unix(found.RetireAfter, 0).Equal(planTime.Add(time.Hour))) {
			t.Errorf("%s: it stays is %v: %+v", name, !c.stays, after)
		}
		if a := findBySecret(after, secretA); a == nil || a.State != documents.CredentialRetiring || len(after) != 3 && c.stays || len(after) != 2 && !c.stays {
			t.Errorf("%s: %+v", name, after)
		}
	}
}

func TestATargetThatGetsItsFormerNameAgainTakesTheValueOfTheOther(t *testing.T) {
	active := credentialFor(secretA, documents.CredentialActive, "other/7")
	state := secretState{credentials: []documents.Credential{active, retiring(secretB, time.Hour)}, target: targetIn(isEdited), stored: secretB, previous: secretA}
	plan, err := planCredentials(state, planTime, rand.Reader)
	if err != nil || plan.secret != secretA || plan.cause.isSet() || plan.isGenerated {
		t.Errorf("%+v, %v", plan, err)
	}
}
