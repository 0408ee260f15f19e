package storagetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// everyFieldIsTested checks that fullGrant sets every field, and that the store keeps each.
func everyFieldIsTested(t *testing.T, s Backend) {
	g := fullGrant(t, s)
	mustCreate(t, s, g)
	g.End(time.Now().Truncate(time.Second), storage.EndRevoked)
	value := reflect.ValueOf(g)
	for i := range value.NumField() {
		if name := value.Type().Field(i).Name; name != "Version" && value.Field(i).IsZero() {
			t.Errorf("fullGrant does not set %s", name)
		}
	}
	stored := mustGet(t, s, "a")
	g.Version = stored.Version
	updated, err := s.UpdateGrant(t.Context(), g)
	if err != nil {
		t.Fatalf("UpdateGrant: %v", err)
	}
	checkSame(t, updated, g)
	checkSame(t, mustGet(t, s, "a"), g)
	if again := mustGet(t, s, "a"); again.Version != updated.Version {
		t.Errorf("the version is %q, and the update gave %q", again.Version, updated.Version)
	}
}

func longValuesAreKept(t *testing.T, s Backend) {
	g := newGrant("long")
	g.Nonce = strings.Repeat("é", 256)
	g.RedirectURI = "https://shop.example.com/" + strings.Repeat("a", 2000)
	g.ClaimsRequest = `{"userinfo":{"` + strings.Repeat("claim", 200) + `":{"value":"a \"quoted\" \\ ' $1 % 値"}}}`
	g.Subject, g.Resources = "'; DROP TABLE grants; --", nil
	for i := range 64 {
		g.Scopes = append(g.Scopes, fmt.Sprintf("orders:%s%d", strings.Repeat("s", 100), i))
	}
	mustCreate(t, s, g)
	checkSame(t, mustGet(t, s, "long"), g)
}

func takenIDEndsNothing(t *testing.T, s Backend) {
	createToBound(t, s)
	if _, err := s.CreateGrant(t.Context(), newGrant("g7")); !errors.Is(err, storage.ErrExists) {
		t.Errorf("creating an id again: %v, want ErrExists", err)
	}
	for i := range storage.MaxGrantsPerUserAndClient {
		if id := fmt.Sprint("g", i); mustGet(t, s, id).IsEnded() {
			t.Errorf("%s has ended, although nothing was created", id)
		}
	}
}

func parallelCreatesOfAPair(t *testing.T, s Backend) {
	won, errs := runParallel(func(i int) error {
		_, err := s.CreateGrant(t.Context(), newGrant(fmt.Sprint("g", i)))
		return err
	})
	if won != 50 {
		t.Fatalf("%d of 50 were created: %v", won, errs)
	}
	live := 0
	for i := range 50 {
		if mustGet(t, s, fmt.Sprint("g", i)).IsLive(time.Now()) {
			live++
		}
	}
	if live > storage.MaxGrantsPerUserAndClient || live == 0 {
		t.Errorf("%d of 50 grants are live, want at most %d", live, storage.MaxGrantsPerUserAndClient)
	}
}

func oldVersionsStayOld(t *testing.T, s Backend) {
	g := mustCreate(t, s, newGrant("a"))
	g.ExpiresAt = time.Now().Add(-time.Second)
	g, err := s.UpdateGrant(t.Context(), g)
	if err != nil {
		t.Fatalf("UpdateGrant: %v", err)
	}
	if _, err := s.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatalf("Sweep: %v", err)
	}
	if _, err := s.UpdateGrant(t.Context(), g); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("updating what was swept: %v, want ErrNotFound", err)
	}

	first := mustPut(t, s, newConsent())
	if err := s.DeleteConsent(t.Context(), "u", "c"); err != nil {
		t.Fatalf("DeleteConsent: %v", err)
	}
	mustPut(t, s, newConsent())
	if _, err := s.PutConsent(t.Context(), first); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("replacing a consent by who read the one that was deleted: %v, want ErrConflict", err)
	}
}

func consentsAreApart(t *testing.T, s Backend) {
	mustPut(t, s, newConsent())
	other := newConsent()
	other.ClientUID, other.Scopes = "another", nil
	mustPut(t, s, other)
	if err := s.DeleteConsent(t.Context(), "u", "c"); err != nil {
		t.Fatalf("DeleteConsent: %v", err)
	}
	got, err := s.GetConsent(t.Context(), "u", "another")
	if err != nil || len(got.Scopes) != 0 {
		t.Errorf("the consent to another client is %+v, %v", got, err)
	}
}

func parallelConsents(t *testing.T, s Backend) {
	won, errs := runParallel(func(int) error {
		_, err := s.PutConsent(t.Context(), newConsent())
		return err
	})
	checkOneWon(t, won, errs, storage.ErrExists)
	stored, err := s.GetConsent(t.Context(), "u", "c")
	if err != nil {
		t.Fatalf("Consent: %v", err)
	}
	won, errs = runParallel(func(i int) error {
		c := stored
		c.Scopes = []string{fmt.Sprint(i)}
		_, err := s.PutConsent(t.Context(), c)
		return err
	})
	checkOneWon(t, won, errs, storage.ErrConflict)
}

func parallelMarks(t *testing.T, s Backend) {
	until := time.Now().Add(time.Hour)
	won, errs := runParallel(func(i int) error {
		return s.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: "a", ExpiresAt: until.Add(time.Duration(i) * time.Second)})
	})
	if won != 50 {
		t.Errorf("%d of 50 set the mark: %v", won, errs)
	}
	checkMark(t, s, storage.MarkSession, "a", true)
}

// withoutTime checks that a call with a cancelled context does nothing.
func withoutTime(t *testing.T, s Backend) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"CreateGrant":     func() error { _, err := s.CreateGrant(ctx, newGrant("a")); return err },
		"GetGrant":        func() error { _, err := s.GetGrant(ctx, "a"); return err },
		"UpdateGrant":     func() error { _, err := s.UpdateGrant(ctx, storage.Grant{ID: "a", Version: "1"}); return err },
		"GetConsent":      func() error { _, err := s.GetConsent(ctx, "u", "c"); return err },
		"HasConsent":      func() error { _, err := s.HasConsent(ctx, "u", "c", "uid"); return err },
		"PutConsent":      func() error { _, err := s.PutConsent(ctx, newConsent()); return err },
		"GetIdentity":     func() error { _, err := s.GetIdentity(ctx, newIdentity("u").Subject); return err },
		"CreateIdentity":  func() error { _, err := s.CreateIdentity(ctx, newIdentity("u"), 10); return err },
		"UpdateIdentity":  func() error { _, err := s.UpdateIdentity(ctx, newIdentity("u")); return err },
		"CountIdentities": func() error { _, err := s.CountIdentities(ctx, "provider"); return err },
		"SetMark": func() error {
			return s.SetMark(ctx, storage.Mark{Kind: storage.MarkToken, ID: "a", ExpiresAt: time.Now().Add(time.Hour)})
		},
		"CreateMark": func() error {
			return s.CreateMark(ctx, storage.Mark{Kind: storage.MarkToken, ID: "a", ExpiresAt: time.Now().Add(time.Hour)})
		},
		"CountMarks": func() error { _, err := s.CountMarks(ctx, storage.MarkToken, "u", 1); return err },
		"IsMarked":   func() error { _, err := s.IsMarked(ctx, storage.MarkToken, "a"); return err },
	} {
		if err := call(); !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrAmbiguous) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
	if _, err := s.GetGrant(t.Context(), "a"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the grant was created: %v", err)
	}
	checkMark(t, s, storage.MarkToken, "a", false)
}
