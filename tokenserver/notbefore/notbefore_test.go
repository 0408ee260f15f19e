package notbefore

import (
	"testing"
	"time"
)

func TestATimeVoidsItsOwnSecondAndWhatIsBeforeItOnceItHasCome(t *testing.T) {
	noon := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	times := Times{Server: noon.Unix()}
	for _, c := range []struct {
		now, issued time.Time
		want        bool
	}{
		{noon, noon.Add(-time.Hour), true},
		{noon, noon, true},
		{noon, noon.Add(999 * time.Millisecond), true},
		{noon.Add(time.Second), noon.Add(time.Second), false},
		{noon.Add(2 * time.Second), noon.Add(2 * time.Second), false},
		{noon.Add(-time.Second), noon.Add(-time.Hour), false},
		{noon.AddDate(-1, 0, 0), noon.AddDate(-2, 0, 0), false},
		{noon.AddDate(0, 0, 30), noon.Add(-time.Second), true},
	} {
		if got := times.At(c.now, "client", "user", "provider").VoidsToken(c.issued); got != c.want {
			t.Errorf("at %v, issued at %v: void is %v, want %v", c.now, c.issued, got, c.want)
		}
	}
}

func TestTheTimeOfAClientVoidsItsTokensAndAuthorizationsButNoLogin(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	times := Times{Clients: map[string]int64{"client": now.Unix() - 10}}
	limits := times.At(now, "client", "user", "provider")
	before, after := now.Add(-11*time.Second), now.Add(-9*time.Second)
	if limits.VoidsLogin(before) {
		t.Error("a login is void")
	}
	if !limits.VoidsToken(before) || !limits.VoidsAuthorization(before, before) {
		t.Error("what the client got before is good")
	}
	if limits.VoidsToken(after) || limits.VoidsAuthorization(before, after) {
		t.Error("what the client got later, by an older login, is void")
	}
	if other := times.At(now, "other", "user", "provider"); other.VoidsToken(before) || other.VoidsAuthorization(before, before) {
		t.Error("what another client got is void")
	}
}

func TestTheTimesOfAServerAndOfAUserVoidLoginsAndAllThatRestsOnThem(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	limit := now.Unix() - 10
	before, after := now.Add(-11*time.Second), now.Add(-9*time.Second)
	for name, times := range map[string]Times{"server": {Server: limit}, "user": {Users: map[string]int64{"user": limit}}, "provider": {Providers: map[string]int64{"provider": limit}}} {
		limits := times.At(now, "client", "user", "provider")
		if !limits.VoidsLogin(before) || !limits.VoidsAuthorization(before, after) || !limits.VoidsToken(before) {
			t.Errorf("%s: something from before is good: %+v", name, limits)
		}
		if limits.VoidsLogin(after) || limits.VoidsAuthorization(after, after) || limits.VoidsToken(after) {
			t.Errorf("%s: something from later is void: %+v", name, limits)
		}
	}
	if (Times{Users: map[string]int64{"user": limit}}).At(now, "client", "other", "provider").VoidsLogin(before) {
		t.Error("a login of another user is void")
	}
}

func TestWithoutATimeNothingIsVoid(t *testing.T) {
	limits := Times{}.At(time.Unix(1_000_000, 0), "client", "user", "provider")
	for _, at := range []time.Time{{}, time.Unix(0, 0), time.Unix(1, 0)} {
		if limits.VoidsLogin(at) || limits.VoidsToken(at) || limits.VoidsAuthorization(at, at) {
			t.Errorf("%v is void", at)
		}
	}
}
