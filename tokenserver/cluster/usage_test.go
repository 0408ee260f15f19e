package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// usageWorld is a Usage, its clock, and what is written of it.
type usageWorld struct {
	*Usage
	clock  time.Time
	writes []time.Time
	listed map[string]int // how often a credential was written
	last   []internalv1alpha1.CredentialUse
}

func newUsageWorld() *usageWorld {
	w := &usageWorld{clock: time.Date(2026, 1, 1, 10, 30, 0, 0, time.UTC), listed: map[string]int{}}
	w.Usage = NewUsage(func() time.Time { return w.clock })
	return w
}

// pass lets time pass, and looks as often as the program does.
func (w *usageWorld) pass(d time.Duration) {
	for end := w.clock.Add(d); w.clock.Before(end); {
		w.clock = w.clock.Add(checkEvery)
		if w.due() {
			w.last = w.unwritten()
			w.wrote(w.last)
			w.writes = append(w.writes, w.clock)
			for _, use := range w.last {
				w.listed[string(use.Owner)+use.RefusedMethod]++
			}
		}
	}
}

func used(n int) registry.Use { return registry.Use{ClientUID: fmt.Sprint(n), CredentialID: "c"} }

func TestAUsageIsWrittenWithinAMinuteOfTheFirstUseAndThenOnceAnHour(t *testing.T) {
	w := newUsageWorld()
	w.pass(24 * time.Hour)
	if len(w.writes) > 0 {
		t.Fatalf("%d writes, and nothing was used", len(w.writes))
	}
	began := w.clock
	for range 60 * 10 { // ten hours of one busy client
		w.Used(used(1))
		w.pass(time.Minute)
	}
	if first := w.writes[0].Sub(began); first > time.Minute {
		t.Errorf("first written after %s", first)
	}
	for i := 1; i < len(w.writes); i++ {
		if apart := w.writes[i].Sub(w.writes[i-1]); apart < time.Hour {
			t.Errorf("written %s after the last time", apart)
		}
	}
	if n := len(w.writes); n < 9 || n > 11 {
		t.Errorf("%d writes in ten hours", n)
	}
	w.pass(90 * time.Minute)
	before := len(w.writes)
	w.Used(used(2))
	if w.pass(time.Minute); len(w.writes) != before+1 {
		t.Error("after a quiet hour a use is not written within a minute")
	}
}

func TestWithMoreCredentialsThanAUsageListsEachHasItsTurn(t *testing.T) {
	w := newUsageWorld()
	const credentials = 10_000
	for range 10 {
		for n := range credentials {
			w.Used(used(n))
		}
		w.pass(time.Hour)
		if len(w.last) > internalv1alpha1.MaxUses {
			t.Fatalf("%d uses are listed", len(w.last))
		}
	}
	if len(w.listed) != credentials {
		t.Errorf("in ten hours %d of %d credentials were listed", len(w.listed), credentials)
	}
}

func TestWhatDecidesSomethingIsListedFirst(t *testing.T) {
	w := newUsageWorld()
	for n := range 5000 {
		w.Used(used(n))
	}
	retiring, refused := used(9998), used(9999)
	retiring.Retiring, refused.RefusedMethod = true, "client_secret_post"
	w.Used(retiring)
	w.Used(refused)
	w.pass(time.Minute)
	if w.listed["9998"] != 1 || w.listed["9999client_secret_post"] != 1 {
		t.Errorf("not among the first %d", len(w.last))
	}
}

func TestAUseThatCouldNotBeWrittenIsWrittenLater(t *testing.T) {
	w := newUsageWorld()
	w.Used(used(1))
	w.clock = w.clock.Add(time.Minute)
	lost := w.unwritten() // and the write fails
	w.pass(time.Minute)
	if len(lost) != 1 || w.listed["1"] != 1 {
		t.Errorf("listed are %v", w.listed)
	}
	w.Used(used(2))
	uses := w.unwritten()
	w.clock = w.clock.Add(time.Hour)
	w.Used(used(2)) // while the write is under way
	w.wrote(uses)
	if w.pass(2 * time.Hour); w.listed["2"] != 1 {
		t.Errorf("a use during a write is lost: %v", w.listed)
	}
}

func TestAUsageForgetsWhatWasWrittenADayAgo(t *testing.T) {
	w := newUsageWorld()
	for n := range 100 {
		w.Used(used(n))
	}
	w.pass(time.Minute)
	w.pass(26 * time.Hour)
	w.Used(used(1000))
	w.pass(time.Minute)
	if len(w.uses) != 1 {
		t.Errorf("%d credentials are remembered", len(w.uses))
	}
}

func TestAUsageListsWhatAManagerThatWasAwayHasNotSeen(t *testing.T) {
	w := newUsageWorld()
	w.Used(used(1))
	w.pass(time.Hour)
	for n := range 3 {
		w.Used(used(2 + n))
		w.pass(2 * time.Hour)
		owners := map[string]bool{}
		for _, use := range w.last {
			owners[string(use.Owner)] = true
		}
		if !owners["1"] || len(w.last) != n+2 || string(w.last[0].Owner) != fmt.Sprint(2+n) {
			t.Errorf("listed are %+v", w.last)
		}
	}
	for n := range 2 * internalv1alpha1.MaxUses {
		w.Used(used(100 + n))
	}
	w.pass(2 * time.Hour)
	for _, use := range w.last {
		if n := string(use.Owner); len(n) < 3 {
			t.Errorf("%s was written before, and takes a place of what was not", n)
		}
	}
}

func TestUrgentUsesLeaveRoomForTheOthers(t *testing.T) {
	w := newUsageWorld()
	for range 3 {
		for n := range 2 * internalv1alpha1.MaxUses {
			refused := used(n)
			refused.RefusedMethod = "client_secret_post"
			w.Used(refused)
			w.Used(used(n))
		}
		w.pass(time.Hour)
	}
	urgent, others := 0, 0
	for credential, times := range w.listed {
		if strings.HasSuffix(credential, "client_secret_post") {
			urgent += times
		} else {
			others += times
		}
	}
	if want := 3 * internalv1alpha1.MaxUses / 2; urgent != want || others != want {
		t.Errorf("%d urgent uses and %d others were listed, want %d each", urgent, others, want)
	}
}

func TestUsesCountAfterTheClockWasSetBack(t *testing.T) {
	w := newUsageWorld()
	right := w.clock
	w.clock = right.AddDate(1, 0, 0) // a machine that has just started
	w.Used(used(1))
	w.pass(time.Minute)
	w.clock = right
	w.Used(used(1))
	w.pass(time.Minute)
	if len(w.last) != 1 || w.last[0].Time.Sub(right).Abs() > time.Hour {
		t.Errorf("listed is %+v, want a use of %s", w.last, right)
	}
}
