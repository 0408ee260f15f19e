package controllers

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

func TestReadyIsWhatTheFirstConditionThatDoesNotHoldSays(t *testing.T) {
	good, bad, worse, unknown := holds("Fine", ""), fails("Bad", "a is wrong"), fails("Worse", "b is wrong"), waits("not yet")
	for name, c := range map[string]struct {
		verdicts []verdict
		want     verdict
	}{
		"all hold":         {[]verdict{good, good}, holds(v1alpha1.ReasonReady, "well")},
		"none there":       {nil, holds(v1alpha1.ReasonReady, "well")},
		"one fails":        {[]verdict{good, bad}, bad},
		"two fail":         {[]verdict{good, bad, worse}, bad},
		"one waits":        {[]verdict{good, unknown, good}, unknown},
		"not looked at":    {[]verdict{good, waits("not looked at")}, waits("not looked at")},
		"held back by one": {[]verdict{unknown, good}, unknown},
	} {
		var parts []part
		for _, v := range c.verdicts {
			parts = append(parts, part{"Any", v})
		}
		if got := ready(parts, "well"); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestAVerdictThatWaitsIsUnknown(t *testing.T) {
	v := waits("waiting for %s", "x")
	if v.ok() || !v.decided() || v.status != metav1.ConditionUnknown || v.reason != v1alpha1.ReasonPending || v.message != "waiting for x" {
		t.Errorf("%+v", v)
	}
	if (verdict{}).decided() || (verdict{}).ok() {
		t.Error("the zero verdict decides something")
	}
}

func TestConditionsAreThePartsInTheirOrder(t *testing.T) {
	var conditions []metav1.Condition
	parts := []part{{"Accepted", holds("Accepted", "yes")}, {"Programmed", fails("Pending", "not %s", "yet")}, {"Ready", fails("Pending", "not yet")}}
	now := time.Date(2026, 1, 1, 12, 0, 0, 5, time.FixedZone("east", 3600))
	setConditions(&conditions, 7, now, parts)
	want := []metav1.Condition{
		{Type: "Accepted", Status: "True", Reason: "Accepted", Message: "yes"},
		{Type: "Programmed", Status: "False", Reason: "Pending", Message: "not yet"},
		{Type: "Ready", Status: "False", Reason: "Pending", Message: "not yet"},
	}
	for i := range want {
		want[i].ObservedGeneration, want[i].LastTransitionTime = 7, metav1.NewTime(time.Date(2026, 1, 1, 11, 0, 0, 0, time.UTC))
	}
	if !reflect.DeepEqual(conditions, want) {
		t.Errorf("%+v", conditions)
	}
}

func TestTheTimeOfAConditionChangesWithItsStatusOnly(t *testing.T) {
	var conditions []metav1.Condition
	first := time.Unix(1000, 0).UTC()
	setConditions(&conditions, 1, first, []part{{"Ready", fails("A", "a")}})
	setConditions(&conditions, 2, first.Add(time.Hour), []part{{"Ready", fails("B", "b")}})
	if c := conditions[0]; !c.LastTransitionTime.Time.Equal(first) || c.Reason != "B" || c.Message != "b" || c.ObservedGeneration != 2 {
		t.Errorf("%+v", c)
	}
	setConditions(&conditions, 2, first.Add(2*time.Hour), []part{{"Ready", holds("C", "c")}})
	if c := conditions[0]; !c.LastTransitionTime.Time.Equal(first.Add(2 * time.Hour)) {
		t.Errorf("%+v", c)
	}
	before := conditions[0]
	setConditions(&conditions, 2, first.Add(3*time.Hour), []part{{"Ready", holds("C", "c")}})
	if conditions[0] != before {
		t.Errorf("the same again was %+v and is %+v", before, conditions[0])
	}
}

func TestAConditionOfOursThatIsNoPartGoesAndOthersStay(t *testing.T) {
	conditions := []metav1.Condition{
		{Type: v1alpha1.ConditionLegacyGrant, Status: "True"}, {Type: v1alpha1.ConditionStalled, Status: "True"},
		{Type: "example.com/Reviewed", Status: "False", Reason: "Theirs"}, {Type: "Ready", Status: "True"},
	}
	setConditions(&conditions, 1, time.Unix(1, 0), []part{{"Ready", holds("Ready", "")}})
	if len(conditions) != 2 || conditions[0].Type != "example.com/Reviewed" || conditions[0].Reason != "Theirs" || conditions[1].Type != "Ready" {
		t.Errorf("%+v", conditions)
	}
	for i := range 30 { // what the API server would refuse
		conditions = append(conditions, metav1.Condition{Type: fmt.Sprint("example.com/", i), Status: "True"})
	}
	setConditions(&conditions, 1, time.Unix(1, 0), []part{{"Ready", holds("Ready", "")}, {"Accepted", holds("Accepted", "")}})
	if len(conditions) != maxConditions || !conditionIs(conditions, "Accepted", "True", 1) {
		t.Errorf("%d conditions", len(conditions))
	}
}

func TestAnObjectThatIsInvalidInItselfIsStalled(t *testing.T) {
	var conditions []metav1.Condition
	setConditions(&conditions, 3, time.Unix(1, 0), []part{{"Accepted", invalid("spec.x: is wrong")}, {"Ready", invalid("spec.x: is wrong")}})
	if !conditionIs(conditions, v1alpha1.ConditionStalled, metav1.ConditionTrue, 3) || len(conditions) != 3 {
		t.Errorf("%+v", conditions)
	}
	setConditions(&conditions, 4, time.Unix(1, 0), []part{{"Accepted", fails(v1alpha1.ReasonNotAllowedByServer, "x")}, {"Ready", fails("X", "x")}})
	if len(conditions) != 2 {
		t.Errorf("%+v", conditions)
	}
}

func TestAStepThatFailsIsToldAndWhatWasNotReachedIsAsItWas(t *testing.T) {
	scope := ""
	did := func(name string, err error) func(context.Context, *string) error {
		return func(_ context.Context, s *string) error { *s += name; return err }
	}
	broken := errors.New("broken")
	f := take(t.Context(), &scope, []step[*string]{
		{condition: "A", do: did("a", nil)}, {condition: "B", do: did("b", broken)}, {condition: "C", do: did("c", nil)},
		{condition: "D", do: did("d", errors.New("later")), always: true},
	})
	if scope != "abd" || f == nil || f.condition != "B" || !errors.Is(f.err, broken) {
		t.Errorf("did %s: %+v", scope, f)
	}
	f.verdict = fails(v1alpha1.ReasonFailed, "broken")
	before := []metav1.Condition{
		{Type: "C", Status: "True", Reason: "Fine", ObservedGeneration: 2}, {Type: "D", Status: "True", Reason: "Fine", ObservedGeneration: 1},
	}
	for condition, want := range map[string]verdict{
		"A": holds("Fine", ""), "B": f.verdict, "C": {status: "True", reason: "Fine"}, "D": waits("waiting"),
	} {
		found := verdict{}
		if condition == "A" {
			found = want
		}
		if got := f.part(condition, found, before, 2, "waiting"); got.verdict != want {
			t.Errorf("%s: %+v", condition, got)
		}
	}
	if v := f.ready([]part{{"A", holds("", "")}, {"D", waits("waiting")}, {"B", f.verdict}}, ""); v != f.verdict {
		t.Errorf("Ready says %+v", v)
	}
	if v := (*failure)(nil).part("D", verdict{}, before, 2, "waiting").verdict; v != waits("waiting") {
		t.Errorf("without a failure: %+v", v)
	}
}

func TestWhatConditionsSayOfAFailureIsAboutTheObjectsNamespaceOnly(t *testing.T) {
	forbidden := func(namespace string) error {
		status := apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "x", errors.New("exceeded quota: secret-plan"))
		return fmt.Errorf("wrapped: %w", &writeError{verb: "creating", kind: "Thing", namespace: namespace, name: "x", err: status})
	}
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}}
	for name, test := range map[string]struct {
		err    error
		reason string
		quotes bool
	}{
		"refused here":      {forbidden("shop"), v1alpha1.ReasonRefused, true},
		"refused elsewhere": {forbidden("identity"), v1alpha1.ReasonRefused, false},
		"an answer":         {apierrors.NewInternalError(errors.New("secret-plan")), v1alpha1.ReasonFailed, false},
		"anything else":     {errors.New("secret-plan"), v1alpha1.ReasonFailed, false},
	} {
		if v := explain(test.err, c); v.reason != test.reason || v.ok() || strings.Contains(v.message, "secret-plan") != test.quotes {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestAFailureThatMayPassIsToldWhenItHasLastedASecondOrTwo(t *testing.T) {
	now := time.Unix(1000, 0)
	op := &operator{now: func() time.Time { return now }, setbacks: newSetbacks(), heldBack: newHeldBack()}
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	wrote := 0
	pass := func(err error) {
		var f *failure
		if err != nil {
			f = &failure{condition: "Accepted", err: err}
		}
		result, logged := op.finish(c, kindClient, f, new(time.Time), func() error { wrote++; return nil })
		if err != nil && (logged == nil) != (passing(err) || refused(err)) || err != nil && logged == nil && result.RequeueAfter == 0 {
			t.Errorf("%v: logged as an error is %v, tried again in %v", err, logged, result.RequeueAfter)
		}
	}
	for _, err := range []error{apierrors.NewConflict(schema.GroupResource{}, "x", nil), apierrors.NewServiceUnavailable("away"), errors.New("broken")} {
		wrote = 0
		pass(err)
		now = now.Add(time.Second)
		pass(err)
		if wrote > 0 {
			t.Errorf("%v: told at once", err)
		}
		now = now.Add(time.Second)
		if pass(err); wrote != 1 {
			t.Errorf("%v: not told after two seconds", err)
		}
		pass(nil)
	}
	wrote = 0
	refusal := &writeError{err: apierrors.NewForbidden(schema.GroupResource{}, "x", nil), retryAt: now.Add(time.Second)}
	if pass(refusal); wrote != 1 {
		t.Error("a refusal is not told at once")
	}
}

func TestAMessageFitsIntoItsCondition(t *testing.T) {
	var conditions []metav1.Condition
	for _, message := range []string{strings.Repeat("a", 100_000), "a" + strings.Repeat("ü", 100_000)} {
		setConditions(&conditions, 1, time.Unix(1, 0), []part{{"Ready", fails("Long", "%s", message)}})
		if got := conditions[0].Message; len(got) > maxMessage || len(got) < maxMessage-4 || !utf8.ValidString(got) || !strings.HasSuffix(got, "...") {
			t.Errorf("%d bytes that end with %q", len(got), got[len(got)-6:])
		}
	}
	if short := strings.Repeat("a", maxMessage); brief(short) != short {
		t.Error("a message that fits was cut")
	}
}

func TestAConditionSpeaksOfOneGeneration(t *testing.T) {
	conditions := []metav1.Condition{{Type: "Programmed", Status: "True", ObservedGeneration: 3}}
	for name, c := range map[string]struct {
		condition  string
		status     metav1.ConditionStatus
		generation int64
		want       bool
	}{
		"it":                 {"Programmed", "True", 3, true},
		"another status":     {"Programmed", "False", 3, false},
		"another generation": {"Programmed", "True", 4, false},
		"another condition":  {"Ready", "True", 3, false},
	} {
		if got := conditionIs(conditions, c.condition, c.status, c.generation); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAPartBecameTrueThatHoldsNowAndDidNot(t *testing.T) {
	before := []metav1.Condition{{Type: "Accepted", Status: "True"}, {Type: "ResolvedRefs", Status: "False"}}
	for name, c := range map[string]struct {
		parts []part
		want  bool
	}{
		"held before":       {[]part{{"Accepted", holds("", "")}}, false},
		"did not hold":      {[]part{{"Accepted", holds("", "")}, {"ResolvedRefs", holds("", "")}}, true},
		"still does not":    {[]part{{"ResolvedRefs", fails("", "")}}, false},
		"is new":            {[]part{{"CredentialsReady", holds("", "")}}, true},
		"is new and waits":  {[]part{{"CredentialsReady", waits("")}}, false},
		"holds not anymore": {[]part{{"Accepted", fails("", "")}}, false},
	} {
		if got := becameTrue(before, c.parts); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
