package cluster

import (
	"math"
	"testing"
	"time"
)

func TestTheReplicasAreTheMostThatServedWithinATime(t *testing.T) {
	begun := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	minute := func(n int) time.Time { return begun.Add(time.Duration(n) * time.Minute) }
	var r replicaCounts
	check := func(now, within, want int) {
		t.Helper()
		if n := r.most(minute(now - within)); n != want {
			t.Errorf("in minute %d, within %d minutes, there were %d, want %d", now, within, n, want)
		}
	}
	check(0, 30, math.MaxInt)
	for now, n := range []int{3, 4, 3, 3, 1, 2} {
		r.add(n, minute(now))
	}
	check(5, 5, 4)
	check(5, 4, 4)
	check(5, 3, 3)
	check(5, 1, 2)
	check(60, 30, 2)
	r.add(5, minute(61))
	check(61, 1440, 5)
	r.add(1, minute(62))
	check(62, 1440, 5)
	r.add(1, minute(62+1440))
	check(62+1440, 100000, 1)
	r.forget()
	check(63, 30, math.MaxInt)
}
