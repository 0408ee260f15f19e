package storagetest

import (
	"context"
	"errors"
	"reflect"
	"sync"
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

func consentNeedsVersion(t *testing.T, s Backend) {
	if _, err := s.GetConsent(t.Context(), "u", "c"); !errors.Is(err, storage.ErrNotFound) {
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
	got, err := s.GetConsent(t.Context(), "u", "c")
	if err != nil {
		t.Fatalf("Consent: %v", err)
	}
	if got.Version != second.Version || !reflect.DeepEqual(got.Scopes, grown.Scopes) || !got.GrantedAt.Equal(first.GrantedAt) {
		t.Errorf("read %+v, want %+v", got, second)
	}
	if _, err := s.GetConsent(t.Context(), "u", "another"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("reading the consent to another client: %v, want ErrNotFound", err)
	}
}

func consentIsReadAsWritten(t *testing.T, s Backend) {
	want := newConsent()
	want.Scopes, want.Claims = []string{"openid", "orders:read", "orders:write"}, []string{"name", "email"}
	want.APIs = []storage.API{
		{UID: "orders-uid", Identifier: "https://orders.example.com", Scopes: []string{"orders:read", "orders:write"}},
		{UID: "stock-uid", Identifier: "urn:example:stock"},
	}
	want = put(t, s, want)
	value := reflect.ValueOf(want)
	for i := range value.NumField() {
		if value.Field(i).IsZero() {
			t.Errorf("a stored consent has no %s", value.Type().Field(i).Name)
		}
	}
	for range 2 {
		got, err := s.GetConsent(t.Context(), "u", "c")
		if err != nil {
			t.Fatalf("Consent: %v", err)
		}
		for _, c := range []*storage.Consent{&got, &want} {
			c.GrantedAt, c.UpdatedAt = c.GrantedAt.UTC(), c.UpdatedAt.UTC()
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("read %+v\nwant %+v", got, want)
		}
		got.Scopes[0], got.Claims[0], got.APIs[0].Scopes[0] = "changed by the reader", "as is this", "and this"
	}
}

func consentGivenAgain(t *testing.T, s Backend) {
	stands := func(uid string, want bool) {
		t.Helper()
		for name, reader := range map[string]storage.Reader{"the store": s, "recent reads": storage.RecentReader(s)} {
			there, err := reader.HasConsent(t.Context(), "u", "c", uid)
			if err != nil || there != want {
				t.Errorf("%s: the consent %q is there: %v, %v; want %v", name, uid, there, err, want)
			}
		}
	}
	stands("", false)
	first := put(t, s, newConsent())
	stands(first.UID, true)
	stands("", false)
	stands("another", false)
	grown := first
	grown.UID, grown.Scopes = "", []string{"openid", "email"} // the store keeps the UID
	if grown = put(t, s, grown); grown.UID != first.UID {
		t.Errorf("a consent that has grown has the UID %q, had %q", grown.UID, first.UID)
	}
	if err := s.DeleteConsent(t.Context(), "u", "c"); err != nil {
		t.Fatalf("DeleteConsent: %v", err)
	}
	again := newConsent()
	again.UID = first.UID // nor is it for the caller to choose
	if again = put(t, s, again); again.UID == "" || again.UID == first.UID {
		t.Errorf("a consent that was given again has the UID %q, the withdrawn one had %q", again.UID, first.UID)
	}
	stands(again.UID, true)
	within(t, "the withdrawn consent is gone", func() bool {
		there, err := storage.RecentReader(s).HasConsent(t.Context(), "u", "c", first.UID)
		return err == nil && !there
	})
	stands(first.UID, false)
}

// withdrawnConsentEnds: the store ends by itself what rests on a consent that is gone, at the next
// sweep at the latest, and tells of it.
func withdrawnConsentEnds(t *testing.T, s Backend) {
	var mu sync.Mutex
	var told []storage.Grant
	s.OnEnd(func(_ context.Context, g storage.Grant) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, g)
	})
	first := put(t, s, newConsent())
	to := func(id, client, consent string) storage.Grant {
		g := newGrant(id)
		g.UserUID, g.ClientUID, g.Consented, g.ConsentUID = "u", client, consent != "", consent
		return create(t, s, g)
	}
	other := newConsent()
	other.ClientUID = "another"
	to("rests on it", "c", first.UID)
	to("rests on another", "another", put(t, s, other).UID)
	to("rests on none", "third", "")
	if err := s.DeleteConsent(t.Context(), "u", "c"); err != nil {
		t.Fatalf("DeleteConsent: %v", err)
	}
	to("rests on the one that was given again", "c", put(t, s, newConsent()).UID)
	within(t, "the grant ends", func() bool {
		if _, err := s.Sweep(t.Context(), time.Now()); err != nil {
			t.Fatalf("Sweep: %v", err)
		}
		return read1(t, s, "rests on it").IsEnded()
	})
	if g := read1(t, s, "rests on it"); g.EndReason != storage.EndConsentWithdrawn {
		t.Errorf("it ended for %q", g.EndReason)
	}
	for _, id := range []string{"rests on another", "rests on none", "rests on the one that was given again"} {
		if read1(t, s, id).IsEnded() {
			t.Errorf("what %s has ended", id)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(told) != 1 || told[0].ID != "rests on it" || told[0].EndReason != storage.EndConsentWithdrawn || told[0].ClientID != "shop.web" {
		t.Errorf("the store told of %+v", told)
	}
}

// within waits until something holds that follows soon.
func within(t *testing.T, sentence string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within ten seconds: %s", sentence)
		}
	}
}

func consentDeletedTwice(t *testing.T, s Backend) {
	stored := put(t, s, newConsent())
	for range 2 {
		if err := s.DeleteConsent(t.Context(), "u", "c"); err != nil {
			t.Fatalf("DeleteConsent: %v", err)
		}
	}
	if _, err := s.GetConsent(t.Context(), "u", "c"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("reading a deleted consent: %v, want ErrNotFound", err)
	}
	if _, err := s.PutConsent(t.Context(), stored); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("replacing a deleted consent: %v, want ErrNotFound", err)
	}
	put(t, s, newConsent())
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
	if _, err := s.GetGrant(t.Context(), "soon"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("an expired grant is still there: %v", err)
	}
	checkMark(t, s, storage.MarkToken, "soon", false)
	read1(t, s, "later")
	checkMark(t, s, storage.MarkToken, "later", true)
	if _, err := s.GetConsent(t.Context(), "u", "c"); err != nil {
		t.Errorf("the sweep took a consent: %v", err)
	}
	sweep(now.Add(2*time.Hour), 0)
}
