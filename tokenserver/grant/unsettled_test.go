package grant

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

var (
	errAway = errors.New("the store is away")
	start   = time.Unix(1_700_000_000, 0)
)

// unanswered is a request that wrote by the attempt and got no answer, at now.
func unanswered(u *unsettled, id, attempt string, now time.Time) {
	u.begin(id, attempt)
	u.over(id, attempt, errAway, true, now)
}

func TestAnUnsettledWriteIsForgivenOnceAndNotForEver(t *testing.T) {
	var u unsettled
	if u.take("a", "mine", start) {
		t.Error("something is remembered that was never written")
	}
	unanswered(&u, "a", "mine", start)
	if u.take("a", "another", start) || u.take("b", "mine", start) {
		t.Error("the write of another request was taken for it")
	}
	if !u.take("a", "mine", start.Add(unsettledFor-time.Second)) {
		t.Error("it is remembered for less than a code lives")
	}
	if u.take("a", "mine", start) {
		t.Error("it was taken twice")
	}
	unanswered(&u, "b", "mine", start)
	if u.take("b", "mine", start.Add(unsettledFor)) {
		t.Error("it is remembered longer than a code lives")
	}
}

func TestWhatIsTakenComesBackIfItsTakerGetsNoAnswerEither(t *testing.T) {
	var u unsettled
	unanswered(&u, "a", "mine", start)
	if !u.take("a", "mine", start) {
		t.Fatal("it is not remembered")
	}
	u.over("a", "mine", errAway, true, start)
	if !u.take("a", "mine", start) {
		t.Error("it is forgotten")
	}
	u.over("a", "mine", nil, true, start)
	if u.take("a", "mine", start) || len(u.writes) != 0 || u.kept != 0 {
		t.Errorf("something is left: %+v, %d", u.writes, u.kept)
	}
}

func TestOnlyAnUnknownOutcomeIsRemembered(t *testing.T) {
	var u unsettled
	u.begin("a", "under way")
	if u.take("a", "under way", start) {
		t.Error("the write of a request under way was taken")
	}
	u.over("a", "under way", errAway, false, start)
	u.begin("a", "refused")
	u.over("a", "refused", refuse("no"), true, start)
	for _, attempt := range []string{"under way", "refused"} {
		if u.take("a", attempt, start) {
			t.Errorf("the write of a request that was answered is remembered: %s", attempt)
		}
	}
	if len(u.writes) != 0 {
		t.Errorf("something is left: %+v", u.writes)
	}
}

func TestEveryUnsettledWriteOfAGrantIsForgivenUntilOneIs(t *testing.T) {
	attempts := []string{"first", "second", "third"}
	for _, happened := range attempts {
		var u unsettled
		for _, attempt := range attempts {
			unanswered(&u, "a", attempt, start)
		}
		if !u.take("a", happened, start) {
			t.Errorf("the %s is forgotten", happened)
		}
		u.over("a", happened, nil, true, start)
		for _, attempt := range attempts {
			if u.take("a", attempt, start) {
				t.Errorf("the %s is remembered after the client was answered", attempt)
			}
		}
	}
}

func TestAnAnswerToAnotherRequestLeavesNothingToForgive(t *testing.T) {
	var u unsettled
	u.begin("a", "slow")
	u.begin("a", "fast")
	u.over("a", "fast", nil, false, start)
	u.over("a", "slow", errAway, true, start)
	if u.take("a", "slow", start) {
		t.Error("it is remembered after the client was answered")
	}
}

func TestUnsettledWritesAreBounded(t *testing.T) {
	var u unsettled
	for i := range maxUnsettledOne + 10 {
		unanswered(&u, "one", fmt.Sprint(i), start)
	}
	if len(u.writes["one"]) != maxUnsettledOne {
		t.Errorf("%d of one grant are remembered", len(u.writes["one"]))
	}
	for i := range maxUnsettled + 100 {
		unanswered(&u, fmt.Sprint(i), "mine", start)
	}
	if len(u.writes) != maxUnsettled-maxUnsettledOne+1 || u.kept != maxUnsettled {
		t.Errorf("%d are remembered, of %d grants", u.kept, len(u.writes))
	}
	for _, id := range []string{"later", "one"} {
		unanswered(&u, id, "later", start.Add(unsettledFor))
		if !u.take(id, "later", start.Add(unsettledFor)) {
			t.Error("old ones keep new ones out")
		}
		u.over(id, "later", nil, true, start)
	}
	if len(u.writes) != 0 || u.kept != 0 {
		t.Errorf("%d are left, of %d grants", u.kept, len(u.writes))
	}
}

func TestOrphansAreBounded(t *testing.T) {
	var o orphans
	for i := range maxUnsettled + 1 {
		o.add(fmt.Sprint(i))
	}
	if id, ok := o.take(); !ok || id != "0" || len(o.ids) != maxUnsettled-1 {
		t.Errorf("taken was %q, %t; %d are left", id, ok, len(o.ids))
	}
}
