package storagetest

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

func newConsent() storage.Consent {
	now := time.Now().Truncate(time.Second).UTC()
	return storage.Consent{UserUID: "u", ClientUID: "c", Scopes: []string{"openid"}, GrantedAt: now, UpdatedAt: now}
}

func mustPut(t *testing.T, s storage.Store, c storage.Consent) storage.Consent {
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
	first := mustPut(t, s, newConsent())
	if first.Version == "" {
		t.Error("a stored consent has no version")
	}
	if _, err := s.PutConsent(t.Context(), newConsent()); !errors.Is(err, storage.ErrExists) {
		t.Errorf("creating it again: %v, want ErrExists", err)
	}
	grown := first
	grown.Scopes = []string{"openid", "email"}
	second := mustPut(t, s, grown)
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
	want = mustPut(t, s, want)
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
	checkHasConsent := func(uid string, want bool) {
		t.Helper()
		for name, reader := range map[string]storage.Reader{"the store": s, "recent reads": storage.RecentReader(s)} {
			there, err := reader.HasConsent(t.Context(), "u", "c", uid)
			if err != nil || there != want {
				t.Errorf("%s: the consent %q is there: %v, %v; want %v", name, uid, there, err, want)
			}
		}
	}
	checkHasConsent("", false)
	first := mustPut(t, s, newConsent())
	checkHasConsent(first.UID, true)
	checkHasConsent("", false)
	checkHasConsent("another", false)
	grown := first
	grown.UID, grown.Scopes = "", []string{"openid", "email"} // the store keeps the UID
	if grown = mustPut(t, s, grown); grown.UID != first.UID {
		t.Errorf("a consent that has grown has the UID %q, had %q", grown.UID, first.UID)
	}
	if err := s.DeleteConsent(t.Context(), "u", "c"); err != nil {
		t.Fatalf("DeleteConsent: %v", err)
	}
	again := newConsent()
	again.UID = first.UID // nor is it for the caller to choose
	if again = mustPut(t, s, again); again.UID == "" || again.UID == first.UID {
		t.Errorf("a consent that was given again has the UID %q, the withdrawn one had %q", again.UID, first.UID)
	}
	checkHasConsent(again.UID, true)
	eventually.True(t, "the withdrawn consent is gone", func() bool {
		there, err := storage.RecentReader(s).HasConsent(t.Context(), "u", "c", first.UID)
		return err == nil && !there
	})
	checkHasConsent(first.UID, false)
}

// withdrawnConsentEnds checks that the store ends the grants that rest on a deleted consent, at the
// next sweep at the latest, and calls OnEnd.
func withdrawnConsentEnds(t *testing.T, s Backend) {
	var mu sync.Mutex
	var notified []storage.Grant
	s.OnEnd(func(_ context.Context, g storage.Grant) {
		mu.Lock()
		defer mu.Unlock()
		notified = append(notified, g)
	})
	first := mustPut(t, s, newConsent())
	createGrant := func(id, client, consent string) storage.Grant {
		g := newGrant(id)
		g.UserUID, g.ClientUID, g.Consented, g.ConsentUID = "u", client, consent != "", consent
		return mustCreate(t, s, g)
	}
	other := newConsent()
	other.ClientUID = "another"
	createGrant("rests on it", "c", first.UID)
	createGrant("rests on another", "another", mustPut(t, s, other).UID)
	createGrant("rests on none", "third", "")
	if err := s.DeleteConsent(t.Context(), "u", "c"); err != nil {
		t.Fatalf("DeleteConsent: %v", err)
	}
	createGrant("rests on the one that was given again", "c", mustPut(t, s, newConsent()).UID)
	eventually.True(t, "the grant ends", func() bool {
		if _, err := s.Sweep(t.Context(), time.Now()); err != nil {
			t.Fatalf("Sweep: %v", err)
		}
		return mustGet(t, s, "rests on it").IsEnded()
	})
	if g := mustGet(t, s, "rests on it"); g.EndReason != storage.EndConsentWithdrawn {
		t.Errorf("it ended for %q", g.EndReason)
	}
	for _, id := range []string{"rests on another", "rests on none", "rests on the one that was given again"} {
		if mustGet(t, s, id).IsEnded() {
			t.Errorf("what %s has ended", id)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(notified) != 1 || notified[0].ID != "rests on it" || notified[0].EndReason != storage.EndConsentWithdrawn || notified[0].ClientID != "shop.web" {
		t.Errorf("the store has called OnEnd for %+v", notified)
	}
}

func consentDeletedTwice(t *testing.T, s Backend) {
	stored := mustPut(t, s, newConsent())
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
	mustPut(t, s, newConsent())
}
