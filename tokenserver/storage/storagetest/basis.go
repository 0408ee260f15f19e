package storagetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// basisIsReadWithGrant checks that what a grant rests on is the same whether the store reads it
// together with the grant or by itself, and that of nothing else anything is said.
func basisIsReadWithGrant(t *testing.T, s Backend) {
	g := fullGrant(t, s)
	g.Offline = false
	mustCreate(t, s, g)
	check := func(what, id string, sessionEnded, consentExists bool) {
		t.Helper()
		got, from, err := storage.GetGrantWithBasis(t.Context(), s, id)
		if err != nil {
			t.Fatalf("%s: GetGrantWithBasis: %v", what, err)
		}
		checkSame(t, got, mustGet(t, s, id))
		if ended, err := from.IsMarked(t.Context(), storage.MarkSession, g.SessionHash); err != nil || ended != sessionEnded {
			t.Errorf("%s: the session has ended: %t, %v; want %t", what, ended, err, sessionEnded)
		}
		if exists, err := from.HasConsent(t.Context(), g.UserUID, g.ClientUID, g.ConsentUID); err != nil || exists != consentExists {
			t.Errorf("%s: the consent exists: %t, %v; want %t", what, exists, err, consentExists)
		}
		for kind, id := range map[storage.MarkKind]string{storage.MarkSession: "another", storage.MarkToken: g.SessionHash} {
			if marked, err := from.IsMarked(t.Context(), kind, id); err != nil || marked {
				t.Errorf("%s: %s %s is marked: %t, %v", what, kind, id, marked, err)
			}
		}
		if exists, err := from.HasConsent(t.Context(), g.UserUID, "another", g.ConsentUID); err != nil || exists {
			t.Errorf("%s: the consent of another client exists: %t, %v", what, exists, err)
		}
	}
	check("at first", "a", false, true)
	if err := s.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: "another-session", ExpiresAt: time.Now().Add(time.Hour)}); err != nil {
		t.Fatalf("SetMark: %v", err)
	}
	check("after the end of another session", "a", false, true)
	offline := newGrant("b") // it rests on nothing, and what is asked about others is read
	offline.Consented, offline.ConsentUID = false, ""
	mustCreate(t, s, offline)
	check("through another grant", "b", false, true)
	if err := s.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: g.SessionHash, ExpiresAt: time.Now().Add(time.Hour)}); err != nil {
		t.Fatalf("SetMark: %v", err)
	}
	check("after the end of the session", "a", true, true)
	check("after the end of the session, through another grant", "b", true, true)
	if err := s.DeleteConsent(t.Context(), g.UserUID, g.ClientUID); err != nil {
		t.Fatalf("DeleteConsent: %v", err)
	}
	eventually.True(t, "the consent is gone", func() bool {
		exists, err := s.HasConsent(t.Context(), g.UserUID, g.ClientUID, g.ConsentUID)
		return err == nil && !exists
	})
	check("after the withdrawal", "a", true, false)
	if _, _, err := storage.GetGrantWithBasis(t.Context(), s, "none"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a grant that does not exist: %v", err)
	}
}

// noGrantInEndedSession checks too that the refusal ends no other grant, and comes before all others.
func noGrantInEndedSession(t *testing.T, s Backend) {
	createToBound(t, s) // in the session of newGrant
	setMark(t, s, storage.MarkSession, "ended", time.Now().Add(time.Hour))
	setMark(t, s, storage.MarkSession, "expired", time.Now().Add(-time.Second))
	setMark(t, s, storage.MarkToken, "session", time.Now().Add(time.Hour)) // another kind of mark
	refuse := func(what string, g storage.Grant) {
		t.Helper()
		g.SessionHash = "ended"
		if _, err := s.CreateGrant(t.Context(), g); !errors.Is(err, storage.ErrSessionEnded) {
			t.Errorf("%s: %v, want ErrSessionEnded", what, err)
		}
	}
	for _, offline := range []bool{false, true} {
		g := newGrant("new")
		g.Offline = offline
		refuse(fmt.Sprintf("an id that is free, offline %t", offline), g)
	}
	if _, err := s.GetGrant(t.Context(), "new"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the refused grant: %v, want ErrNotFound", err)
	}
	refuse("an id that is taken", newGrant("g7"))
	s.SetGrantBounds(storage.MaxGrantsPerUserAndClient, 1)
	refuse("at the bound of the server", newGrant("new"))
	s.SetGrantBounds(storage.MaxGrantsPerUserAndClient, storage.MaxGrantsPerServer)
	if mustGet(t, s, "g0").IsEnded() {
		t.Error("a grant that was not created has ended the oldest")
	}
	for i, session := range []string{"expired", "session", ""} {
		g := newGrant(fmt.Sprint("good", i))
		g.SessionHash = session
		mustCreate(t, s, g)
	}
}
