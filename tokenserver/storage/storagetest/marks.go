package storagetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// newTokenMark returns the mark of an access token of the user at a client in the namespace.
func newTokenMark(id, user, client, namespace string) storage.Mark {
	return storage.Mark{
		Kind: storage.MarkToken, ID: id, UserUID: user, ClientUID: client, Namespace: namespace, ExpiresAt: time.Now().Add(time.Hour),
	}
}

func marksHaveBounds(t *testing.T, s Backend) {
	s.SetMarkBounds(storage.MarkToken, storage.MarkBounds{PerUserAndClient: 2, PerClient: 4, PerNamespace: 6, PerServer: 8})
	n := 0
	marks := func(user, client, namespace string, want ...error) {
		t.Helper()
		for _, want := range want {
			n++
			err := s.SetMark(t.Context(), newTokenMark(fmt.Sprint(n), user, client, namespace))
			if !errors.Is(err, want) {
				t.Errorf("mark %d, of %s at %s in %s: %v, want %v", n, user, client, namespace, err, want)
			}
			checkMark(t, s, storage.MarkToken, fmt.Sprint(n), want == nil)
		}
	}
	full := storage.ErrFull
	marks("alice", "web", "shop", nil, nil, full)
	marks("bob", "web", "shop", nil, nil, full) // another user is not stopped, and the client is at its bound now
	marks("carol", "web", "shop", full)
	marks("", "web", "shop", full)
	marks("alice", "api", "shop", nil) // another client is not stopped
	marks("", "service", "shop", nil, full)
	marks("alice", "spa", "shop", full) // the namespace is at its bound
	marks("alice", "web", "blog", full) // and so is alice at the client, wherever that is
	marks("alice", "cms", "blog", nil)  // another namespace is not stopped
	marks("", "", "", nil, full)        // the server is at its bound
	marks("dan", "tool", "desk", full)

	if err := s.SetMark(t.Context(), newTokenMark("1", "alice", "web", "shop")); err != nil {
		t.Errorf("a mark that is set already, at the bound: %v", err)
	}
	for i := range 10 {
		m := storage.Mark{Kind: storage.MarkSession, ID: fmt.Sprint(i), UserUID: "alice", ExpiresAt: time.Now().Add(time.Hour)}
		if err := s.SetMark(t.Context(), m); err != nil {
			t.Errorf("the mark of an ended session: %v", err)
		}
	}
}

func placesAreFreed(t *testing.T, s Backend) {
	s.SetMarkBounds(storage.MarkToken, storage.MarkBounds{PerClient: 1, PerServer: 2})
	short := newTokenMark("short", "alice", "web", "shop")
	short.ExpiresAt = time.Now().Add(500 * time.Millisecond)
	if err := s.SetMark(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	if err := s.SetMark(t.Context(), newTokenMark("next", "alice", "web", "shop")); !errors.Is(err, storage.ErrFull) {
		t.Errorf("beyond the bound: %v, want ErrFull", err)
	}
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = s.SetMark(t.Context(), newTokenMark("next", "alice", "web", "shop")); err == nil {
			return
		}
	}
	t.Errorf("once the mark has expired: %v", err)
}

func parallelMarksKeepBound(t *testing.T, s Backend) {
	const bound, slack = 10, 10 // as many as a store may write at one moment
	s.SetMarkBounds(storage.MarkToken, storage.MarkBounds{PerClient: bound})
	won, errs := runParallel(func(i int) error {
		return s.SetMark(t.Context(), newTokenMark(fmt.Sprint(i), "alice", "web", "shop"))
	})
	if won < bound || won > bound+slack {
		t.Errorf("%d marks were set, want %d and few more", won, bound)
	}
	for _, err := range errs {
		if !errors.Is(err, storage.ErrFull) {
			t.Errorf("one was refused with %v", err)
		}
	}
	if err := s.SetMark(t.Context(), newTokenMark("another", "alice", "web", "shop")); !errors.Is(err, storage.ErrFull) {
		t.Errorf("after them: %v, want ErrFull", err)
	}
}

func marksAreCounted(t *testing.T, s Backend) {
	count := func(kind storage.MarkKind, user string, limit, want int) {
		t.Helper()
		if n, err := s.CountMarks(t.Context(), kind, user, limit); err != nil || n != want {
			t.Errorf("%s has %d marks of the kind %s (%v), want %d", user, n, kind, err, want)
		}
	}
	count(storage.MarkSession, "alice", 10, 0)
	for i, m := range []storage.Mark{
		{Kind: storage.MarkSession, UserUID: "alice"}, {Kind: storage.MarkSession, UserUID: "alice"}, {Kind: storage.MarkSession, UserUID: "alice"},
		{Kind: storage.MarkSession, UserUID: "bob"}, {Kind: storage.MarkSession}, newTokenMark("", "alice", "web", "shop"),
	} {
		m.ID, m.ExpiresAt = fmt.Sprint(i), time.Now().Add(time.Hour)
		for range 2 {
			if err := s.SetMark(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.SetMark(t.Context(), storage.Mark{
		Kind: storage.MarkSession, ID: "over", UserUID: "alice", ExpiresAt: time.Now().Add(-time.Second),
	}); err != nil {
		t.Fatal(err)
	}
	count(storage.MarkSession, "alice", 10, 3)
	count(storage.MarkSession, "alice", 2, 2)
	count(storage.MarkSession, "bob", 10, 1)
	count(storage.MarkSession, "carol", 10, 0)
	count(storage.MarkToken, "alice", 10, 1)
	if _, err := s.Sweep(t.Context(), time.Now().Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		n, err := s.CountMarks(t.Context(), storage.MarkSession, "alice", 10)
		if err == nil && n == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after the sweep alice has %d marks (%v)", n, err)
		}
	}
}

func setMark(t *testing.T, s storage.Store, kind storage.MarkKind, id string, until time.Time) {
	t.Helper()
	if err := s.SetMark(t.Context(), storage.Mark{Kind: kind, ID: id, ExpiresAt: until}); err != nil {
		t.Fatalf("Mark: %v", err)
	}
}

func checkMark(t *testing.T, s storage.Store, kind storage.MarkKind, id string, want bool) {
	t.Helper()
	got, err := s.IsMarked(t.Context(), kind, id)
	if err != nil {
		t.Fatalf("Marked: %v", err)
	}
	if got != want {
		t.Errorf("%s %s is marked: %v, want %v", kind, id, got, want)
	}
}

func markHolds(t *testing.T, s Backend) {
	setMark(t, s, storage.MarkToken, "a", time.Now().Add(time.Hour))
	setMark(t, s, storage.MarkToken, "over", time.Now().Add(-time.Second))
	checkMark(t, s, storage.MarkToken, "a", true)
	checkMark(t, s, storage.MarkToken, "over", false)
	checkMark(t, s, storage.MarkToken, "b", false)
	checkMark(t, s, storage.MarkSession, "a", false)
}

func markSetTwice(t *testing.T, s Backend) {
	setMark(t, s, storage.MarkSession, "a", time.Now().Add(time.Hour))
	setMark(t, s, storage.MarkSession, "a", time.Now().Add(-time.Hour))
	checkMark(t, s, storage.MarkSession, "a", true)
	setMark(t, s, storage.MarkSession, "a", time.Now().Add(2*time.Hour))
	checkMark(t, s, storage.MarkSession, "a", true)
}

func sweepRemovesExpired(t *testing.T, s Backend) {
	now := time.Now()
	soon := newGrant("soon")
	soon.ExpiresAt = now.Add(time.Hour)
	later := newGrant("later")
	later.ExpiresAt = now.Add(3 * time.Hour)
	mustCreate(t, s, soon)
	mustCreate(t, s, later)
	setMark(t, s, storage.MarkToken, "soon", now.Add(time.Hour))
	setMark(t, s, storage.MarkToken, "later", now.Add(3*time.Hour))
	mustPut(t, s, newConsent())

	sweep := func(at time.Time, want int) {
		t.Helper()
		removed, err := s.Sweep(t.Context(), at)
		if err != nil {
			t.Fatalf("Sweep: %v", err)
		}
		if removed != want {
			t.Errorf("the sweep removed %d records, want %d", removed, want)
		}
	}
	sweep(now, 0)
	sweep(now.Add(2*time.Hour), 2)
	if _, err := s.GetGrant(t.Context(), "soon"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("an expired grant is still there: %v", err)
	}
	checkMark(t, s, storage.MarkToken, "soon", false)
	mustGet(t, s, "later")
	checkMark(t, s, storage.MarkToken, "later", true)
	if _, err := s.GetConsent(t.Context(), "u", "c"); err != nil {
		t.Errorf("the sweep took a consent: %v", err)
	}
	sweep(now.Add(2*time.Hour), 0)
}
