package storagetest

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const manyIdentities = 1000

// subjectOf returns a subject as package users derives them, for a user of this name.
func subjectOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "~" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// newIdentity returns an identity with every field set that a caller sets.
func newIdentity(name string) storage.Identity {
	now := time.Now().Truncate(time.Second).UTC()
	return storage.Identity{
		Subject: subjectOf(name), ProviderUID: "provider", ProviderName: "acme",
		Claims: map[string]any{
			"preferred_username": name, "email_verified": true, "age": 42.0, "groups": []any{"acme:ops", "a \"quoted\" \\ ' $1 % 値"},
			"address": map[string]any{"locality": "Berlin"},
		},
		ClaimsAt: now.Add(-time.Minute), LastSignIn: now, AllowHash: "allow", PasswordChanged: "changed", SealedSubject: "sealed", Endings: 3,
	}
}

func mustCreateIdentity(t *testing.T, s storage.Store, i storage.Identity) storage.Identity {
	t.Helper()
	created, err := s.CreateIdentity(t.Context(), i, manyIdentities)
	if err != nil {
		t.Fatalf("CreateIdentity: %v", err)
	}
	return created
}

func mustGetIdentity(t *testing.T, s storage.Store, name string) storage.Identity {
	t.Helper()
	i, err := s.GetIdentity(t.Context(), subjectOf(name))
	if err != nil {
		t.Fatalf("GetIdentity: %v", err)
	}
	return i
}

func checkSameIdentity(t *testing.T, got, want storage.Identity) {
	t.Helper()
	for _, i := range []*storage.Identity{&got, &want} {
		i.ClaimsAt, i.LastSignIn = i.ClaimsAt.UTC().Round(0), i.LastSignIn.UTC().Round(0)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v\nwant %+v", got, want)
	}
}

func identityIsReadAsWritten(t *testing.T, s Backend) {
	if _, err := s.GetIdentity(t.Context(), subjectOf("alice")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("reading an unknown subject: %v, want ErrNotFound", err)
	}
	want := newIdentity("alice")
	created := mustCreateIdentity(t, s, want)
	if created.Version == "" || created.Incarnation == "" {
		t.Errorf("a created identity has the version %q and the incarnation %q", created.Version, created.Incarnation)
	}
	want.Version, want.Incarnation = created.Version, created.Incarnation
	value := reflect.ValueOf(want)
	for i := range value.NumField() {
		if value.Field(i).IsZero() {
			t.Errorf("newIdentity does not set %s", value.Type().Field(i).Name)
		}
	}
	checkSameIdentity(t, created, want)
	got := mustGetIdentity(t, s, "alice")
	checkSameIdentity(t, got, want)
	got.Claims["groups"].([]any)[0] = "changed by the reader"
	checkSameIdentity(t, mustGetIdentity(t, s, "alice"), want)

	small := storage.Identity{Subject: subjectOf("bob"), ProviderUID: "provider", ProviderName: "acme", LastSignIn: time.Now().Truncate(time.Microsecond)}
	created = mustCreateIdentity(t, s, small)
	small.Version, small.Incarnation = created.Version, created.Incarnation
	checkSameIdentity(t, created, small)
	checkSameIdentity(t, mustGetIdentity(t, s, "bob"), small)
	if n, err := s.CountIdentities(t.Context(), "provider"); err != nil || n != 2 {
		t.Errorf("the provider has %d identities (%v), want 2", n, err)
	}
	if n, err := s.CountIdentities(t.Context(), "another"); err != nil || n != 0 {
		t.Errorf("another provider has %d identities (%v), want 0", n, err)
	}
}

func parallelIdentities(t *testing.T, s Backend) {
	incarnations := make(chan string, 50)
	won, errs := runParallel(func(int) error {
		created, err := s.CreateIdentity(t.Context(), newIdentity("alice"), manyIdentities)
		if err == nil {
			incarnations <- created.Incarnation
		}
		return err
	})
	checkOneWon(t, won, errs, storage.ErrExists)
	if got, want := mustGetIdentity(t, s, "alice").Incarnation, <-incarnations; got != want {
		t.Errorf("the incarnation is %q, and who created it was told %q", got, want)
	}
	if n, err := s.CountIdentities(t.Context(), "provider"); err != nil || n != 1 {
		t.Errorf("there are %d identities (%v), want 1", n, err)
	}
}

func identityNeedsVersion(t *testing.T, s Backend) {
	created := mustCreateIdentity(t, s, newIdentity("alice"))
	next := created
	next.ProviderUID, next.ProviderName, next.AllowHash, next.PasswordChanged, next.SealedSubject = "created again", "renamed", "other", "", ""
	next.Claims, next.ClaimsAt, next.LastSignIn = map[string]any{"email": "a@acme.example"}, created.ClaimsAt.Add(time.Hour), created.LastSignIn.Add(time.Hour)
	next.Incarnation = "chosen by the caller"
	updated, err := s.UpdateIdentity(t.Context(), next)
	if err != nil {
		t.Fatalf("UpdateIdentity: %v", err)
	}
	if updated.Version == created.Version || updated.Incarnation != created.Incarnation {
		t.Errorf("the version is %q after %q, and the incarnation %q after %q", updated.Version, created.Version, updated.Incarnation, created.Incarnation)
	}
	next.Version, next.Incarnation = updated.Version, created.Incarnation
	checkSameIdentity(t, updated, next)
	checkSameIdentity(t, mustGetIdentity(t, s, "alice"), next)
	if _, err := s.UpdateIdentity(t.Context(), created); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("updating an old version: %v, want ErrConflict", err)
	}
	checkSameIdentity(t, mustGetIdentity(t, s, "alice"), next)
	unknown := updated
	unknown.Subject = subjectOf("bob")
	if _, err := s.UpdateIdentity(t.Context(), unknown); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("updating an unknown subject: %v, want ErrNotFound", err)
	}
	for provider, want := range map[string]int{"provider": 0, "created again": 1} {
		if n, err := s.CountIdentities(t.Context(), provider); err != nil || n != want {
			t.Errorf("%s has %d identities (%v), want %d", provider, n, err, want)
		}
	}
}

func olderClaimsStayOut(t *testing.T, s Backend) {
	created := mustCreateIdentity(t, s, newIdentity("alice"))
	older := created
	older.Claims, older.ClaimsAt = map[string]any{"groups": []any{"as it was"}}, created.ClaimsAt.Add(-time.Microsecond)
	if _, err := s.UpdateIdentity(t.Context(), older); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("older claims: %v, want ErrConflict", err)
	}
	checkSameIdentity(t, mustGetIdentity(t, s, "alice"), created)
	same := created
	same.LastSignIn = created.LastSignIn.Add(time.Hour)
	if _, err := s.UpdateIdentity(t.Context(), same); err != nil {
		t.Errorf("claims of the same time: %v", err)
	}
}

// newestClaimsStay has fifty sign-ins write their claims as package users does: each reads, and
// writes unless what it has read is newer.
func newestClaimsStay(t *testing.T, s Backend) {
	first := mustCreateIdentity(t, s, newIdentity("alice"))
	won, errs := runParallel(func(n int) error {
		at := first.ClaimsAt.Add(time.Duration(n) * time.Second)
		for {
			i, err := s.GetIdentity(t.Context(), first.Subject)
			if err != nil || !at.After(i.ClaimsAt) {
				return err
			}
			i.Claims, i.ClaimsAt = map[string]any{"n": float64(n)}, at
			if _, err = s.UpdateIdentity(t.Context(), i); !errors.Is(err, storage.ErrConflict) {
				return err
			}
		}
	})
	if won != 50 {
		t.Fatalf("%d of 50 came through: %v", won, errs)
	}
	if got := mustGetIdentity(t, s, "alice"); got.Claims["n"] != 49.0 || got.Incarnation != first.Incarnation {
		t.Errorf("the identity is %+v, want the claims of 49", got)
	}
}

func identityCreatedAgain(t *testing.T, s Backend) {
	first := mustCreateIdentity(t, s, newIdentity("alice"))
	for range 2 {
		if err := s.DeleteIdentity(t.Context(), first.Subject); err != nil {
			t.Fatalf("DeleteIdentity: %v", err)
		}
	}
	if _, err := s.GetIdentity(t.Context(), first.Subject); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("reading what was deleted: %v, want ErrNotFound", err)
	}
	if _, err := s.UpdateIdentity(t.Context(), first); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("updating what was deleted: %v, want ErrNotFound", err)
	}
	again := newIdentity("alice")
	again.Incarnation = first.Incarnation // which no caller may choose
	second := mustCreateIdentity(t, s, again)
	if second.Incarnation == first.Incarnation {
		t.Error("an identity that was created again has the incarnation of the first")
	}
	if _, err := s.UpdateIdentity(t.Context(), first); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("updating by who read the one that was deleted: %v, want ErrConflict", err)
	}
	checkSameIdentity(t, mustGetIdentity(t, s, "alice"), second)
}

// recentIdentities checks that recent reads find every created identity, and see the changes of their
// own store at once.
func recentIdentities(t *testing.T, s Backend) {
	recent := storage.RecentReader(s)
	created := mustCreateIdentity(t, s, newIdentity("alice"))
	got, err := recent.GetIdentity(t.Context(), created.Subject)
	if err != nil {
		t.Fatalf("GetIdentity: %v", err)
	}
	checkSameIdentity(t, got, created)
	created.LastSignIn = created.LastSignIn.Add(time.Hour)
	updated, err := s.UpdateIdentity(t.Context(), created)
	if err != nil {
		t.Fatalf("UpdateIdentity: %v", err)
	}
	if got, err = recent.GetIdentity(t.Context(), created.Subject); err != nil {
		t.Fatalf("GetIdentity: %v", err)
	}
	checkSameIdentity(t, got, updated)
	if err := s.DeleteIdentity(t.Context(), created.Subject); err != nil {
		t.Fatal(err)
	}
	again := mustCreateIdentity(t, s, newIdentity("alice"))
	if got, err = recent.GetIdentity(t.Context(), created.Subject); err != nil || got.Incarnation != again.Incarnation {
		t.Errorf("after it was created again: %+v, %v", got, err)
	}
	if _, err := recent.GetIdentity(t.Context(), subjectOf("bob")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("reading an unknown subject: %v, want ErrNotFound", err)
	}
}

func identitiesHaveBounds(t *testing.T, s Backend) {
	create := func(name, provider string, maxOfProvider int) error {
		i := newIdentity(name)
		i.ProviderUID = provider
		_, err := s.CreateIdentity(t.Context(), i, maxOfProvider)
		return err
	}
	for _, name := range []string{"a", "b"} {
		if err := create(name, "one", 2); err != nil {
			t.Fatal(err)
		}
	}
	if err := create("c", "one", 2); !errors.Is(err, storage.ErrFull) {
		t.Errorf("beyond the bound of a provider: %v, want ErrFull", err)
	}
	if err := create("a", "one", 2); !errors.Is(err, storage.ErrExists) {
		t.Errorf("one that exists, at the bound: %v, want ErrExists", err)
	}
	known := mustGetIdentity(t, s, "a")
	known.LastSignIn = known.LastSignIn.Add(time.Hour)
	if _, err := s.UpdateIdentity(t.Context(), known); err != nil {
		t.Errorf("a known user, at the bound: %v", err)
	}
	if err := create("c", "another", 2); err != nil {
		t.Errorf("another provider: %v", err)
	}
	s.SetIdentityBound(3)
	if err := create("d", "another", 2); !errors.Is(err, storage.ErrFull) {
		t.Errorf("beyond the bound of the server: %v, want ErrFull", err)
	}
	if err := create("a", "another", 2); !errors.Is(err, storage.ErrExists) {
		t.Errorf("one that exists, at the bound of the server: %v, want ErrExists", err)
	}
	if err := s.DeleteIdentity(t.Context(), subjectOf("a")); err != nil {
		t.Fatal(err)
	}
	if err := create("d", "another", 2); err != nil {
		t.Errorf("after one was deleted: %v", err)
	}
	if err := create("e", "one", 0); !errors.Is(err, storage.ErrFull) {
		t.Errorf("a provider that may have none: %v, want ErrFull", err)
	}
}

func sweepRemovesIdle(t *testing.T, s Backend) {
	now := time.Now()
	idle, specified := []string{}, subjectOf("specified")
	s.SetIdentitySpecs(func(subject string) bool { return subject == specified })
	for n, name := range []string{"idle-0", "idle-1", "specified", "granted", "ended", "recent"} {
		i := newIdentity(name)
		i.LastSignIn = now.Add(-storage.IdentityRetention - time.Duration(n/2)*time.Hour).Truncate(time.Microsecond)
		switch name {
		case "recent":
			i.LastSignIn = now.Add(-storage.IdentityRetention + time.Hour)
		case "specified", "granted":
		default:
			idle = append(idle, name)
		}
		mustCreateIdentity(t, s, i)
	}
	for _, name := range []string{"granted", "ended"} {
		g := newGrant(name)
		g.UserUID, g.Subject = subjectOf(name), subjectOf(name)
		mustCreate(t, s, g)
	}
	end(t, s, "ended")
	removed, err := s.Sweep(t.Context(), now)
	if err != nil || removed != len(idle) {
		t.Errorf("the sweep removed %d records (%v), want %d", removed, err, len(idle))
	}
	for _, name := range idle {
		if _, err := s.GetIdentity(t.Context(), subjectOf(name)); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s was idle: %v, want ErrNotFound", name, err)
		}
	}
	for _, name := range []string{"specified", "granted", "recent"} {
		mustGetIdentity(t, s, name)
	}
	if removed, err := s.Sweep(t.Context(), now.Add(2*time.Hour)); err != nil || removed != 2 {
		t.Errorf("two hours later the sweep removed %d records (%v), want the ended grant and the recent identity", removed, err)
	}
}

func sweepWaitsForSpecs(t *testing.T, s Backend) {
	i := newIdentity("alice")
	i.LastSignIn = time.Now().Add(-2 * storage.IdentityRetention)
	mustCreateIdentity(t, s, i)
	if removed, err := s.Sweep(t.Context(), time.Now()); err != nil || removed != 0 {
		t.Errorf("the sweep removed %d records (%v)", removed, err)
	}
	mustGetIdentity(t, s, "alice")
	s.SetIdentitySpecs(func(string) bool { return false })
	if removed, err := s.Sweep(t.Context(), time.Now()); err != nil || removed != 1 {
		t.Errorf("the sweep removed %d records (%v), want 1", removed, err)
	}
}
