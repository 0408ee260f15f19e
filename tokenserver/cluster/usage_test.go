package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// usageFixture is a usageRecorder, its clock, and what it has had written.
type usageFixture struct {
	*usageRecorder
	clock  time.Time
	writes []time.Time
	listed map[string]int // how often a credential was written
	last   []internalv1alpha1.CredentialUse
}

func newUsageFixture() *usageFixture {
	f := &usageFixture{clock: time.Date(2026, 1, 1, 10, 30, 0, 0, time.UTC), listed: map[string]int{}}
	f.usageRecorder = newUsageRecorder(func() time.Time { return f.clock })
	return f
}

// advance advances the clock, and writes the Usage when it is due, as keepUsage does.
func (f *usageFixture) advance(d time.Duration) {
	for end := f.clock.Add(d); f.clock.Before(end); {
		f.clock = f.clock.Add(usageCheckInterval)
		if f.isDue() {
			f.last = f.nextUses()
			f.setWritten(f.last, f.clock)
			f.writes = append(f.writes, f.clock)
			for _, use := range f.last {
				f.listed[string(use.Owner)+use.RefusedMethod]++
			}
		}
	}
}

func used(n int) registry.CredentialUse {
	return registry.CredentialUse{ClientUID: fmt.Sprint(n), CredentialID: "c"}
}

func TestAUsageIsWrittenWithinAMinuteOfTheFirstUseAndThenOnceAnHour(t *testing.T) {
	f := newUsageFixture()
	f.advance(24 * time.Hour)
	if len(f.writes) > 0 {
		t.Fatalf("%d writes, and nothing was used", len(f.writes))
	}
	began := f.clock
	for range 60 * 10 { // ten hours of one busy client
		f.record(used(1))
		f.advance(time.Minute)
	}
	if first := f.writes[0].Sub(began); first > time.Minute {
		t.Errorf("first written after %s", first)
	}
	for i := 1; i < len(f.writes); i++ {
		if apart := f.writes[i].Sub(f.writes[i-1]); apart < time.Hour {
			t.Errorf("written %s after the last time", apart)
		}
	}
	if n := len(f.writes); n < 9 || n > 11 {
		t.Errorf("%d writes in ten hours", n)
	}
	f.advance(90 * time.Minute)
	before := len(f.writes)
	f.record(used(2))
	if f.advance(time.Minute); len(f.writes) != before+1 {
		t.Error("after a quiet hour a use is not written within a minute")
	}
}

func TestWithMoreCredentialsThanAUsageListsEachHasItsTurn(t *testing.T) {
	f := newUsageFixture()
	const credentials = 10_000
	for range 10 {
		for n := range credentials {
			f.record(used(n))
		}
		f.advance(time.Hour)
		if len(f.last) > internalv1alpha1.MaxUses {
			t.Fatalf("%d uses are listed", len(f.last))
		}
	}
	if len(f.listed) != credentials {
		t.Errorf("in ten hours %d of %d credentials were listed", len(f.listed), credentials)
	}
}

func TestWhatDecidesSomethingIsListedFirst(t *testing.T) {
	f := newUsageFixture()
	for n := range 5000 {
		f.record(used(n))
	}
	retiring, refused := used(9998), used(9999)
	retiring.Retiring, refused.RefusedMethod = true, "client_secret_post"
	f.record(retiring)
	f.record(refused)
	f.advance(time.Minute)
	if f.listed["9998"] != 1 || f.listed["9999client_secret_post"] != 1 {
		t.Errorf("not among the first %d", len(f.last))
	}
}

func TestThatUsesOfReplacedCredentialsDidNotFitIsSaid(t *testing.T) {
	f := newUsageFixture()
	retire := func(from, to int) {
		for n := from; n < to; n++ {
			use := used(n)
			use.Retiring = true
			f.record(use)
		}
	}
	retire(0, internalv1alpha1.MaxUses)
	if f.advance(time.Minute); !f.incompleteUntil.Equal(allRecorded) {
		t.Errorf("all are listed, and they are incomplete until %s", f.incompleteUntil)
	}
	retire(internalv1alpha1.MaxUses, 2*internalv1alpha1.MaxUses+1)
	if f.advance(2 * time.Hour); f.incompleteUntil.Equal(allRecorded) {
		t.Error("one more than fit is not listed, and nothing says so")
	}
}

func TestAUseThatCouldNotBeWrittenIsWrittenLater(t *testing.T) {
	f := newUsageFixture()
	f.record(used(1))
	f.clock = f.clock.Add(time.Minute)
	lost := f.nextUses() // and the write fails
	f.advance(time.Minute)
	if len(lost) != 1 || f.listed["1"] != 1 {
		t.Errorf("listed are %v", f.listed)
	}
	f.record(used(2))
	uses := f.nextUses()
	f.clock = f.clock.Add(time.Hour)
	f.record(used(2)) // while the write is under way
	f.setWritten(uses, f.clock)
	if f.advance(2 * time.Hour); f.listed["2"] != 1 {
		t.Errorf("a use during a write is lost: %v", f.listed)
	}
}

func TestAUsageForgetsWhatWasWrittenADayAgo(t *testing.T) {
	f := newUsageFixture()
	for n := range 100 {
		f.record(used(n))
	}
	f.advance(time.Minute)
	f.advance(26 * time.Hour)
	f.record(used(1000))
	f.advance(time.Minute)
	if len(f.uses) != 1 {
		t.Errorf("%d credentials are remembered", len(f.uses))
	}
}

func TestAUsageListsWhatAManagerThatWasAwayHasNotSeen(t *testing.T) {
	f := newUsageFixture()
	f.record(used(1))
	f.advance(time.Hour)
	for n := range 3 {
		f.record(used(2 + n))
		f.advance(2 * time.Hour)
		owners := map[string]bool{}
		for _, use := range f.last {
			owners[string(use.Owner)] = true
		}
		if !owners["1"] || len(f.last) != n+2 || string(f.last[0].Owner) != fmt.Sprint(2+n) {
			t.Errorf("listed are %+v", f.last)
		}
	}
	for n := range 2 * internalv1alpha1.MaxUses {
		f.record(used(100 + n))
	}
	f.advance(2 * time.Hour)
	for _, use := range f.last {
		if n := string(use.Owner); len(n) < 3 {
			t.Errorf("%s was written before, and takes a place of what was not", n)
		}
	}
}

func TestUrgentUsesLeaveRoomForTheOthers(t *testing.T) {
	f := newUsageFixture()
	for range 3 {
		for n := range 2 * internalv1alpha1.MaxUses {
			refused := used(n)
			refused.RefusedMethod = "client_secret_post"
			f.record(refused)
			f.record(used(n))
		}
		f.advance(time.Hour)
	}
	urgent, others := 0, 0
	for credential, times := range f.listed {
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
	f := newUsageFixture()
	right := f.clock
	f.clock = right.AddDate(1, 0, 0) // a machine that has just started
	f.record(used(1))
	f.advance(time.Minute)
	f.clock = right
	f.record(used(1))
	f.advance(time.Minute)
	if len(f.last) != 1 || f.last[0].Time.Sub(right).Abs() > time.Hour {
		t.Errorf("listed is %+v, want a use of %s", f.last, right)
	}
}
