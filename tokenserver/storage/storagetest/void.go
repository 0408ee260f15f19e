package storagetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/notbefore"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// voidings are the ways in which the grants that login or authorization made until a second are
// void.
func voidings(until int64) map[string]notbefore.Times {
	return map[string]notbefore.Times{
		"server":   {Server: until},
		"client":   {Clients: map[string]int64{"client-uid": until, "other": until + 1}},
		"user":     {Users: map[string]int64{"user-uid": until, "other": until + 1}},
		"provider": {Providers: map[string]int64{"provider-uid": until, "other": until + 1}},
	}
}

// agedGrant returns a grant that a user who signed in here at a time authorized then. That the user
// authenticated at the identity provider long before makes nothing void.
func agedGrant(id string, at time.Time) storage.Grant {
	g := newGrant(id)
	g.AuthTime, g.SignedInAt, g.CreatedAt = at.Add(-time.Hour), at, at
	return g
}

func voidDoNotCountForPair(t *testing.T, s Backend) {
	s.SetGrantBounds(2, 1000)
	now := time.Now().Truncate(time.Second)
	limit := now.Add(-10 * time.Second)
	for name, times := range voidings(limit.Unix()) {
		s.SetNotBefore(func() notbefore.Times { return notbefore.Times{} })
		for _, g := range []storage.Grant{agedGrant(name+"-1", limit.Add(-time.Second)), agedGrant(name+"-2", limit.Add(900*time.Millisecond))} {
			mustCreate(t, s, g)
		}
		s.SetNotBefore(func() notbefore.Times { return times })
		for i := 3; i <= 4; i++ {
			mustCreate(t, s, agedGrant(fmt.Sprint(name, "-", i), limit.Add(time.Duration(i)*time.Second)))
		}
		for i := 1; i <= 4; i++ {
			if mustGet(t, s, fmt.Sprint(name, "-", i)).IsEnded() {
				t.Errorf("%s: grant %d has ended, although two are void", name, i)
			}
		}
		mustCreate(t, s, agedGrant(name+"-5", now))
		if !mustGet(t, s, name+"-3").IsEnded() || mustGet(t, s, name+"-1").IsEnded() || mustGet(t, s, name+"-2").IsEnded() {
			t.Errorf("%s: a third grant that is not void did not end the oldest such", name)
		}
		for i := 1; i <= 5; i++ {
			end(t, s, fmt.Sprint(name, "-", i))
		}
	}
}

func voidDoNotCountForServer(t *testing.T, s Backend) {
	now := time.Now().Truncate(time.Second)
	limit := now.Add(-10 * time.Second)
	created := 0
	for name, times := range voidings(limit.Unix()) {
		s.SetNotBefore(func() notbefore.Times { return notbefore.Times{} })
		s.SetGrantBounds(20, 1000)
		for i := range 2 {
			mustCreate(t, s, agedGrant(fmt.Sprint(name, "-", i), limit.Add(-time.Second)))
			created++
		}
		s.SetGrantBounds(20, created)
		if _, err := s.CreateGrant(t.Context(), agedGrant(name+"-2", now)); !errors.Is(err, storage.ErrFull) {
			t.Fatalf("%s: at the bound: %v, want ErrFull", name, err)
		}
		s.SetNotBefore(func() notbefore.Times { return times })
		s.SetGrantBounds(20, created) // what was counted at the bound may be remembered for a second
		mustCreate(t, s, agedGrant(name+"-2", now))
		created++
	}
}

func end(t *testing.T, s storage.Store, id string) {
	t.Helper()
	g := mustGet(t, s, id)
	if g.IsEnded() {
		return
	}
	g.End(time.Now(), storage.EndRevoked)
	if _, err := s.UpdateGrant(t.Context(), g); err != nil {
		t.Fatalf("UpdateGrant: %v", err)
	}
}
