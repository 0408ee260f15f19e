package storage

import (
	"testing"
	"time"
)

func TestAGrantThatEndedIsKeptForAWhileAndNoLongerThanItWasToLive(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, test := range []struct{ expires, want time.Time }{
		{now.Add(24 * time.Hour), now.Add(EndedRetention)},
		{now.Add(time.Minute), now.Add(time.Minute)},
	} {
		g := Grant{ExpiresAt: test.expires}
		if g.IsEnded() || !g.IsLive(now) || g.IsLive(test.expires) {
			t.Errorf("before it ends, it is %+v", g)
		}
		g.End(now, EndRevoked)
		if !g.IsEnded() || g.IsLive(now) || g.EndReason != EndRevoked || !g.ExpiresAt.Equal(test.want) {
			t.Errorf("it is %+v, want it kept until %v", g, test.want)
		}
	}
}
