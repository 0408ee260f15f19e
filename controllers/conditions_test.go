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
	good, bad, worse, unknown := trueCondition("Fine", ""), falseCondition("Bad", "a is wrong"), falseCondition("Worse", "b is wrong"), pendingCondition("not yet")
	for name, c := range map[string]struct {
		conditions []condition
		want       condition
	}{
		"all hold":         {[]condition{good, good}, trueCondition(v1alpha1.ReasonReady, "well")},
		"none there":       {nil, trueCondition(v1alpha1.ReasonReady, "well")},
		"one fails":        {[]condition{good, bad}, bad},
		"two fail":         {[]condition{good, bad, worse}, bad},
		"one waits":        {[]condition{good, unknown, good}, unknown},
		"not looked at":    {[]condition{good, pendingCondition("not looked at")}, pendingCondition("not looked at")},
		"held back by one": {[]condition{unknown, good}, unknown},
	} {
		var parts []typedCondition
		for _, v := range c.conditions {
			parts = append(parts, typedCondition{"Any", v})
		}
		if got := readyCondition(parts, "well"); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestAVerdictThatWaitsIsUnknown(t *testing.T) {
	v := pendingCondition("waiting for %s", "x")
	if v.isTrue() || !v.isSet() || v.status != metav1.ConditionUnknown || v.reason != v1alpha1.ReasonPending || v.message != "waiting for x" {
		t.Errorf("%+v", v)
	}
	if (condition{}).isSet() || (condition{}).isTrue() {
		t.Error("the zero condition is set")
	}
}

func TestConditionsAreThePartsInTheirOrder(t *testing.T) {
	var conditions []metav1.Condition
	parts := []typedCondition{{"Accepted", trueCondition("Accepted", "yes")}, {"Programmed", falseCondition("Pending", "not %s", "yet")}, {"Ready", falseCondition("Pending", "not yet")}}
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
	setConditions(&conditions, 1, first, []typedCondition{{"Ready", falseCondition("A", "a")}})
	setConditions(&conditions, 2, first.Add(time.Hour), []typedCondition{{"Ready", falseCondition("B", "b")}})
	if c := conditions[0]; !c.LastTransitionTime.Time.Equal(first) || c.Reason != "B" || c.Message != "b" || c.ObservedGeneration != 2 {
		t.Errorf("%+v", c)
	}
	setConditions(&conditions, 2, first.Add(2*time.Hour), []typedCondition{{"Ready", trueCondition("C", "c")}})
	if c := conditions[0]; !c.LastTransitionTime.Time.Equal(first.Add(2 * time.Hour)) {
		t.Errorf("%+v", c)
	}
	before := conditions[0]
	setConditions(&conditions, 2, first.Add(3*time.Hour), []typedCondition{{"Ready", trueCondition("C", "c")}})
	if conditions[0] != before {
		t.Errorf("the same again was %+v and is %+v", before, conditions[0])
	}
}

func TestAConditionOfOursThatIsNoPartGoesAndOthersStay(t *testing.T) {
	conditions := []metav1.Condition{
		{Type: v1alpha1.ConditionLegacyGrant, Status: "True"}, {Type: v1alpha1.ConditionStalled, Status: "True"},
		{Type: "example.com/Reviewed", Status: "False", Reason: "Theirs"}, {Type: "Ready", Status: "True"},
	}
	setConditions(&conditions, 1, time.Unix(1, 0), []typedCondition{{"Ready", trueCondition("Ready", "")}})
	if len(conditions) != 2 || conditions[0].Type != "example.com/Reviewed" || conditions[0].Reason != "Theirs" || conditions[1].Type != "Ready" {
		t.Errorf("%+v", conditions)
	}
	for i := range 30 { // what the API server would refuse
		conditions = append(conditions, metav1.Condition{Type: fmt.Sprint("example.com/", i), Status: "True"})
	}
	setConditions(&conditions, 1, time.Unix(1, 0), []typedCondition{{"Ready", trueCondition("Ready", "")}, {"Accepted", trueCondition("Accepted", "")}})
	if len(conditions) != maxConditions || !hasCondition(conditions, "Accepted", "True", 1) {
		t.Errorf("%d conditions", len(conditions))
	}
}

func TestAnObjectThatIsInvalidInItselfIsStalled(t *testing.T) {
	var conditions []metav1.Condition
	setConditions(&conditions, 3, time.Unix(1, 0), []typedCondition{{"Accepted", invalidCondition("spec.x: is wrong")}, {"Ready", invalidCondition("spec.x: is wrong")}})
	if !hasCondition(conditions, v1alpha1.ConditionStalled, metav1.ConditionTrue, 3) || len(conditions) != 3 {
		t.Errorf("%+v", conditions)
	}
	setConditions(&conditions, 4, time.Unix(1, 0), []typedCondition{{"Accepted", falseCondition(v1alpha1.ReasonNotAllowedByServer, "x")}, {"Ready", falseCondition("X", "x")}})
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
	f := runSteps(t.Context(), &scope, []step[*string]{
		{conditionType: "A", run: did("a", nil)}, {conditionType: "B", run: did("b", broken)}, {conditionType: "C", run: did("c", nil)},
		{conditionType: "D", run: did("d", errors.New("later")), runAfterFailure: true},
	})
	if scope != "abd" || f == nil || f.conditionType != "B" || !errors.Is(f.err, broken) {
		t.Errorf("did %s: %+v", scope, f)
	}
	f.condition = falseCondition(v1alpha1.ReasonFailed, "broken")
	before := []metav1.Condition{
		{Type: "C", Status: "True", Reason: "Fine", ObservedGeneration: 2}, {Type: "D", Status: "True", Reason: "Fine", ObservedGeneration: 1},
	}
	for conditionType, want := range map[string]condition{
		"A": trueCondition("Fine", ""), "B": f.condition, "C": {status: "True", reason: "Fine"}, "D": pendingCondition("waiting"),
	} {
		found := condition{}
		if conditionType == "A" {
			found = want
		}
		if got := f.typedCondition(conditionType, found, before, 2, "waiting"); got.condition != want {
			t.Errorf("%s: %+v", conditionType, got)
		}
	}
	if v := f.readyCondition([]typedCondition{{"A", trueCondition("", "")}, {"D", pendingCondition("waiting")}, {"B", f.condition}}, ""); v != f.condition {
		t.Errorf("Ready says %+v", v)
	}
	if v := (*failure)(nil).typedCondition("D", condition{}, before, 2, "waiting").condition; v != pendingCondition("waiting") {
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
		"refused elsewhere": {forbidden("servers-own"), v1alpha1.ReasonRefused, false},
		"an answer":         {apierrors.NewInternalError(errors.New("secret-plan")), v1alpha1.ReasonFailed, false},
		"anything else":     {errors.New("secret-plan"), v1alpha1.ReasonFailed, false},
	} {
		v := explainFailure(test.err, c)
		if v.reason != test.reason || v.isTrue() || strings.Contains(v.message, "secret-plan") != test.quotes {
			t.Errorf("%s: %+v", name, v)
		}
		if name == "refused elsewhere" {
			if said := strings.Contains(v.message, "kind Thing") && strings.Contains(v.message, "(Forbidden)"); !said || strings.Contains(v.message, `"x"`) || strings.Contains(v.message, "servers-own") {
				t.Errorf("it says more than kind and reason, or less: %s", v.message)
			}
		}
	}
}

func TestAFailureThatMayPassIsToldWhenItHasLastedASecondOrTwo(t *testing.T) {
	now := time.Unix(1000, 0)
	op := &operator{now: func() time.Time { return now }, failures: newFailureCounter(), delayedEvents: newDelayedEvents()}
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	wrote := 0
	pass := func(err error) {
		var f *failure
		if err != nil {
			f = &failure{conditionType: "Accepted", err: err}
		}
		result, logged := op.finishReconcile(c, f, new(time.Time), func() error { wrote++; return nil })
		if err != nil && (logged == nil) != (isTransient(err) || isRefusal(err)) || err != nil && logged == nil && result.RequeueAfter == 0 {
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
		setConditions(&conditions, 1, time.Unix(1, 0), []typedCondition{{"Ready", falseCondition("Long", "%s", message)}})
		if got := conditions[0].Message; len(got) > maxMessage || len(got) < maxMessage-4 || !utf8.ValidString(got) || !strings.HasSuffix(got, "...") {
			t.Errorf("%d bytes that end with %q", len(got), got[len(got)-6:])
		}
	}
	if short := strings.Repeat("a", maxMessage); truncate(short, maxMessage) != short {
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
		if got := hasCondition(conditions, c.condition, c.status, c.generation); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAPartBecameTrueThatHoldsNowAndDidNot(t *testing.T) {
	before := []metav1.Condition{{Type: "Accepted", Status: "True"}, {Type: "ResolvedRefs", Status: "False"}}
	for name, c := range map[string]struct {
		parts []typedCondition
		want  bool
	}{
		"held before":       {[]typedCondition{{"Accepted", trueCondition("", "")}}, false},
		"did not hold":      {[]typedCondition{{"Accepted", trueCondition("", "")}, {"ResolvedRefs", trueCondition("", "")}}, true},
		"still does not":    {[]typedCondition{{"ResolvedRefs", falseCondition("", "")}}, false},
		"is new":            {[]typedCondition{{"CredentialsReady", trueCondition("", "")}}, true},
		"is new and waits":  {[]typedCondition{{"CredentialsReady", pendingCondition("")}}, false},
		"holds not anymore": {[]typedCondition{{"Accepted", falseCondition("", "")}}, false},
	} {
		if got := hasNewTrue(before, c.parts); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
