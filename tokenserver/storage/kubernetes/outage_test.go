package kubernetes_test

import (
	"errors"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

func TestAnOutageOfTheAPIServerLosesAndInventsNothing(t *testing.T) {
	w := newTestServer(t)
	api, network := newNetwork(w.api)
	s := w.openStoreWith(t, "main-0", api)
	g := mustCreate(t, s, w.newGrant("before", "user", "client"))
	recent := storage.RecentReader(s.Store)
	eventually.True(t, "the watches are known to work", func() bool {
		network.failNext(unreachable)
		defer network.clearFaults()
		marked, err := recent.IsMarked(t.Context(), storage.MarkToken, "a")
		return err == nil && !marked
	})

	plane.StopAPIServer()
	started := false
	start := func() {
		if !started {
			started = true
			if err := plane.StartAPIServer(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	defer start()
	if found, err := recent.GetGrant(t.Context(), "before"); err != nil || found.Incarnation != g.Incarnation {
		t.Errorf("what was known a moment ago: %+v, %v", found, err)
	}
	if marked, err := recent.IsMarked(t.Context(), storage.MarkToken, "a"); err != nil || marked {
		t.Errorf("what was known a moment ago: %v, %v", marked, err)
	}
	for name, call := range map[string]func() error{
		"CreateGrant":        func() error { _, err := s.CreateGrant(t.Context(), w.newGrant("within", "user", "client")); return err },
		"UpdateGrant":        func() error { _, err := s.UpdateGrant(t.Context(), g); return err },
		"GetGrant":           func() error { _, err := s.GetGrant(t.Context(), "before"); return err },
		"a grant unheard of": func() error { _, err := recent.GetGrant(t.Context(), "another"); return err },
		"GetConsent":         func() error { _, err := s.GetConsent(t.Context(), "user", "client"); return err },
		"SetMark": func() error {
			return s.SetMark(t.Context(), storage.Mark{Kind: storage.MarkToken, ID: "a", ExpiresAt: g.ExpiresAt})
		},
		"IsMarked": func() error { _, err := s.IsMarked(t.Context(), storage.MarkToken, "a"); return err },
		"Sweep":    func() error { _, err := s.Sweep(t.Context(), w.now()); return err },
	} {
		if err := call(); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
	w.clockOffset.Store(int64(storage.MaxRecentLag))
	if _, err := recent.GetGrant(t.Context(), "before"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("what was known long ago: %v, want ErrUnavailable", err)
	}

	start()
	eventually.True(t, "grants begin again", func() bool {
		if _, err := s.CreateGrant(t.Context(), w.newGrant("within", "user", "client")); err == nil {
			return true
		}
		found, err := s.GetGrant(t.Context(), "within") // an answer may have been lost on the way
		return err == nil && found.Attempt == "attempt-within"
	})
	if found, err := s.GetGrant(t.Context(), "before"); err != nil || found.Version != g.Version {
		t.Errorf("what was there before: %+v, %v", found, err)
	}
}
