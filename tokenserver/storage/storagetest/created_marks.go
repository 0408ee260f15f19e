package storagetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

func newAssertionMark(id, client string) storage.Mark {
	return storage.Mark{Kind: storage.MarkAssertion, ID: id, ClientUID: client, Namespace: "shop", ExpiresAt: time.Now().Add(time.Hour)}
}

func markIsCreatedOnce(t *testing.T, s Backend) {
	create := func(m storage.Mark, want error) {
		t.Helper()
		if err := s.CreateMark(t.Context(), m); !errors.Is(err, want) {
			t.Errorf("the %s %s: %v, want %v", m.Kind, m.ID, err, want)
		}
	}
	m := newAssertionMark("a", "web")
	checkMark(t, s, m.Kind, m.ID, false)
	create(m, nil)
	checkMark(t, s, m.Kind, m.ID, true)
	create(m, storage.ErrExists)
	later := m
	later.ExpiresAt = m.ExpiresAt.Add(time.Hour)
	create(later, storage.ErrExists)
	create(newAssertionMark("b", "web"), nil)
	token := newTokenMark("a", "alice", "web", "shop")
	create(token, nil) // another kind is another mark
	create(token, storage.ErrExists)

	expired := newAssertionMark("expired", "web")
	expired.ExpiresAt = time.Now().Add(-time.Second)
	create(expired, nil)
	checkMark(t, s, expired.Kind, expired.ID, false)
	create(newAssertionMark("expired", "web"), storage.ErrExists)
	if _, err := s.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = s.CreateMark(t.Context(), newAssertionMark("expired", "web")); err == nil {
			return
		}
	}
	t.Errorf("once it is swept: %v", err)
}

func parallelMarkCreations(t *testing.T, s Backend) {
	won, errs := runParallel(func(int) error { return s.CreateMark(t.Context(), newAssertionMark("a", "web")) })
	if won != 1 {
		t.Errorf("%d of 50 created the mark", won)
	}
	for _, err := range errs {
		if !errors.Is(err, storage.ErrExists) {
			t.Errorf("one lost with %v", err)
		}
	}
}

func createdMarksHaveBounds(t *testing.T, s Backend) {
	s.SetMarkBounds(storage.MarkAssertion, storage.MarkBounds{PerClient: 3})
	for i := range 4 {
		err := s.CreateMark(t.Context(), newAssertionMark(fmt.Sprint(i), "web"))
		if want := i < 3; (err == nil) != want || err != nil && !errors.Is(err, storage.ErrFull) {
			t.Errorf("mark %d of the client: %v", i, err)
		}
	}
	if err := s.CreateMark(t.Context(), newAssertionMark("0", "web")); !errors.Is(err, storage.ErrExists) && !errors.Is(err, storage.ErrFull) {
		t.Errorf("one that exists, at the bound: %v", err)
	}
	if err := s.CreateMark(t.Context(), newAssertionMark("other", "api")); err != nil {
		t.Errorf("another client: %v", err)
	}
}
