package controllers

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
		"not looked at":    {[]verdict{good, verdict{}.orPending("not looked at")}, waits("not looked at")},
		"decided already":  {[]verdict{bad.orPending("not looked at")}, bad},
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

func TestAVerdictThatNothingDecidedIsUnknown(t *testing.T) {
	v := verdict{}.orPending("waiting for %s", "x")
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

func TestAConditionThatIsNoPartGoes(t *testing.T) {
	conditions := []metav1.Condition{{Type: v1alpha1.ConditionLegacyGrant, Status: "True"}, {Type: "Ready", Status: "True"}}
	setConditions(&conditions, 1, time.Unix(1, 0), []part{{"Ready", holds("Ready", "")}})
	if len(conditions) != 1 || conditions[0].Type != "Ready" {
		t.Errorf("%+v", conditions)
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
