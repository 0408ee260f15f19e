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

// addUnconfirmed records a request that wrote with the attempt and got no answer.
func addUnconfirmed(u *unconfirmedWrites, id, attempt string, now time.Time) {
	u.begin(id, attempt)
	u.finish(id, attempt, errAway, true, now)
}

func TestAnUnconfirmedWriteIsAcceptedOnceAndNotForEver(t *testing.T) {
	var u unconfirmedWrites
	if u.adopt("a", "mine", start) {
		t.Error("something is remembered that was never written")
	}
	addUnconfirmed(&u, "a", "mine", start)
	if u.adopt("a", "another", start) || u.adopt("b", "mine", start) {
		t.Error("the write of another request was taken for it")
	}
	if !u.adopt("a", "mine", start.Add(unconfirmedRetention-time.Second)) {
		t.Error("it is remembered for less than a code lives")
	}
	if u.adopt("a", "mine", start) {
		t.Error("it was taken twice")
	}
	addUnconfirmed(&u, "b", "mine", start)
	if u.adopt("b", "mine", start.Add(unconfirmedRetention)) {
		t.Error("it is remembered longer than a code lives")
	}
}

func TestWhatIsTakenComesBackIfItsTakerGetsNoAnswerEither(t *testing.T) {
	var u unconfirmedWrites
	addUnconfirmed(&u, "a", "mine", start)
	if !u.adopt("a", "mine", start) {
		t.Fatal("it is not remembered")
	}
	u.finish("a", "mine", errAway, true, start)
	if !u.adopt("a", "mine", start) {
		t.Error("it is forgotten")
	}
	u.finish("a", "mine", nil, true, start)
	if u.adopt("a", "mine", start) || len(u.writes) != 0 || u.remembered != 0 {
		t.Errorf("something is left: %+v, %d", u.writes, u.remembered)
	}
}

func TestOnlyAnUnknownOutcomeIsRemembered(t *testing.T) {
	var u unconfirmedWrites
	u.begin("a", "under way")
	if u.adopt("a", "under way", start) {
		t.Error("the write of a request under way was taken")
	}
	u.finish("a", "under way", errAway, false, start)
	u.begin("a", "refused")
	u.finish("a", "refused", invalidGrant("no"), true, start)
	for _, attempt := range []string{"under way", "refused"} {
		if u.adopt("a", attempt, start) {
			t.Errorf("the write of a request that was answered is remembered: %s", attempt)
		}
	}
	if len(u.writes) != 0 {
		t.Errorf("something is left: %+v", u.writes)
	}
}

func TestEveryUnconfirmedWriteOfAGrantIsAcceptedUntilOneIs(t *testing.T) {
	attempts := []string{"first", "second", "third"}
	for _, happened := range attempts {
		var u unconfirmedWrites
		for _, attempt := range attempts {
			addUnconfirmed(&u, "a", attempt, start)
		}
		if !u.adopt("a", happened, start) {
			t.Errorf("the %s is forgotten", happened)
		}
		u.finish("a", happened, nil, true, start)
		for _, attempt := range attempts {
			if u.adopt("a", attempt, start) {
				t.Errorf("the %s is remembered after the client was answered", attempt)
			}
		}
	}
}

func TestAnAnswerToAnotherRequestLeavesNoUnconfirmedWrite(t *testing.T) {
	var u unconfirmedWrites
	u.begin("a", "slow")
	u.begin("a", "fast")
	u.finish("a", "fast", nil, false, start)
	u.finish("a", "slow", errAway, true, start)
	if u.adopt("a", "slow", start) {
		t.Error("it is remembered after the client was answered")
	}
}

func TestUnconfirmedWritesAreBounded(t *testing.T) {
	var u unconfirmedWrites
	for i := range maxUnconfirmedPerGrant + 10 {
		addUnconfirmed(&u, "one", fmt.Sprint(i), start)
	}
	if len(u.writes["one"]) != maxUnconfirmedPerGrant {
		t.Errorf("%d of one grant are remembered", len(u.writes["one"]))
	}
	for i := range maxUnconfirmed + 100 {
		addUnconfirmed(&u, fmt.Sprint(i), "mine", start)
	}
	if len(u.writes) != maxUnconfirmed-maxUnconfirmedPerGrant+1 || u.remembered != maxUnconfirmed {
		t.Errorf("%d are remembered, of %d grants", u.remembered, len(u.writes))
	}
	for _, id := range []string{"later", "one"} {
		addUnconfirmed(&u, id, "later", start.Add(unconfirmedRetention))
		if !u.adopt(id, "later", start.Add(unconfirmedRetention)) {
			t.Error("old ones keep new ones out")
		}
		u.finish(id, "later", nil, true, start)
	}
	if len(u.writes) != 0 || u.remembered != 0 {
		t.Errorf("%d are left, of %d grants", u.remembered, len(u.writes))
	}
}
