package storagetest

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

func newConsent() storage.Consent {
	now := time.Now().Truncate(time.Second).UTC()
	return storage.Consent{UserUID: "u", ClientUID: "c", Scopes: []string{"openid"}, GrantedAt: now, UpdatedAt: now}
}

func put(t *testing.T, s storage.Store, c storage.Consent) storage.Consent {
	t.Helper()
	stored, err := s.PutConsent(t.Context(), c)
	if err != nil {
		t.Fatalf("PutConsent: %v", err)
	}
	return stored
}

func consentNeedsVersion(t *testing.T, s storage.Store) {
	if _, err := s.Consent(t.Context(), "u", "c"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("reading an unknown consent: %v, want ErrNotFound", err)
	}
	first := put(t, s, newConsent())
	if first.Version == "" {
		t.Error("a stored consent has no version")
	}
	if _, err := s.PutConsent(t.Context(), newConsent()); !errors.Is(err, storage.ErrExists) {
		t.Errorf("creating it again: %v, want ErrExists", err)
	}
	grown := first
	grown.Scopes = []string{"openid", "email"}
	second := put(t, s, grown)
	if _, err := s.PutConsent(t.Context(), grown); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("replacing an old version: %v, want ErrConflict", err)
	}
	got, err := s.Consent(t.Context(), "u", "c")
	if err != nil {
		t.Fatalf("Consent: %v", err)
	}
	if got.Version != second.Version || !reflect.DeepEqual(got.Scopes, grown.Scopes) || !got.GrantedAt.Equal(first.GrantedAt) {
		t.Errorf("read %+v, want %+v", got, second)
	}
	if _, err := s.Consent(t.Context(), "u", "another"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("reading the consent to another client: %v, want ErrNotFound", err)
	}
}

func consentDeletedTwice(t *testing.T, s storage.Store) {
	stored := put(t, s, newConsent())
	for range 2 {
		if err := s.DeleteConsent(t.Context(), "u", "c"); err != nil {
			t.Fatalf("DeleteConsent: %v", err)
		}
	}
	if _, err := s.Consent(t.Context(), "u", "c"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("reading a deleted consent: %v, want ErrNotFound", err)
	}
	if _, err := s.PutConsent(t.Context(), stored); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("replacing a deleted consent: %v, want ErrNotFound", err)
	}
	put(t, s, newConsent())
}

func setMark(t *testing.T, s storage.Store, kind storage.MarkKind, id string, until time.Time) {
	t.Helper()
	if err := s.Mark(t.Context(), storage.Mark{Kind: kind, ID: id, ExpiresAt: until}); err != nil {
		t.Fatalf("Mark: %v", err)
	}
}

func checkMark(t *testing.T, s storage.Store, kind storage.MarkKind, id string, want bool) {
	t.Helper()
	got, err := s.Marked(t.Context(), kind, id)
	if err != nil {
		t.Fatalf("Marked: %v", err)
	}
	if got != want {
		t.Errorf("%s %s is marked: %v, want %v", kind, id, got, want)
	}
}

func markHolds(t *testing.T, s storage.Store) {
	setMark(t, s, storage.MarkToken, "a", time.Now().Add(time.Hour))
	setMark(t, s, storage.MarkToken, "over", time.Now().Add(-time.Second))
	checkMark(t, s, storage.MarkToken, "a", true)
	checkMark(t, s, storage.MarkToken, "over", false)
	checkMark(t, s, storage.MarkToken, "b", false)
	checkMark(t, s, storage.MarkSession, "a", false)
}

func markSetTwice(t *testing.T, s storage.Store) {
	setMark(t, s, storage.MarkSession, "a", time.Now().Add(time.Hour))
	setMark(t, s, storage.MarkSession, "a", time.Now().Add(-time.Hour))
	checkMark(t, s, storage.MarkSession, "a", true)
	setMark(t, s, storage.MarkSession, "a", time.Now().Add(2*time.Hour))
	checkMark(t, s, storage.MarkSession, "a", true)
}

func sweepRemovesExpired(t *testing.T, s storage.Store) {
	now := time.Now()
	soon := newGrant("soon")
	soon.ExpiresAt = now.Add(time.Hour)
	later := newGrant("later")
	later.ExpiresAt = now.Add(3 * time.Hour)
	create(t, s, soon)
	create(t, s, later)
	setMark(t, s, storage.MarkToken, "soon", now.Add(time.Hour))
	setMark(t, s, storage.MarkToken, "later", now.Add(3*time.Hour))
	put(t, s, newConsent())

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
	if _, err := s.Grant(t.Context(), "soon"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("an expired grant is still there: %v", err)
	}
	checkMark(t, s, storage.MarkToken, "soon", false)
	read1(t, s, "later")
	checkMark(t, s, storage.MarkToken, "later", true)
	if _, err := s.Consent(t.Context(), "u", "c"); err != nil {
		t.Errorf("the sweep took a consent: %v", err)
	}
	sweep(now.Add(2*time.Hour), 0)
}
