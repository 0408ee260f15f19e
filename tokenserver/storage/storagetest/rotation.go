package storagetest

import (
	"errors"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// rotationOf returns one that replaces the current refresh token of g.
func rotationOf(g storage.Grant) storage.Rotation {
	now := time.Now().Truncate(time.Second)
	return storage.Rotation{
		GrantID: g.ID, Incarnation: g.Incarnation, ClientUID: g.ClientUID, ClientID: g.ClientID, Number: g.RefreshTokenNumber,
		LastUsedAfter: now.Add(-time.Hour), Attempt: "rotation", SealingKID: "seal-2", At: now,
		Expiry: storage.Expiry{IdleUntil: now.Add(time.Hour), Lag: 7 * time.Minute, CodeLag: 11 * time.Minute},
	}
}

// rotatorOf returns the store as a Rotator, or skips the test.
func rotatorOf(t *testing.T, s Backend) storage.Rotator {
	t.Helper()
	rotator, ok := s.(storage.Rotator)
	if ok {
		_, _, _, err := rotator.Rotate(t.Context(), rotationOf(newGrant("none")))
		ok = !errors.Is(err, errors.ErrUnsupported)
	}
	if !ok {
		t.Skip("the store reads a grant before it replaces its refresh token")
	}
	return rotator
}

// rotationIsReadAndUpdate checks that a Rotation returns and leaves behind what reading the grant
// and updating it would.
func rotationIsReadAndUpdate(t *testing.T, s Backend) {
	rotator := rotatorOf(t, s)
	full := fullGrant(t, s)
	full.ProviderUID, full.Offline = "", false
	bare := newGrant("bare")
	bare.ProviderUID, bare.SignedInAt, bare.Consented, bare.ConsentUID = "", time.Time{}, false, ""
	bare.RefreshUntil = time.Now().Add(30 * time.Minute).Truncate(time.Second) // before the token is idle for too long
	fresh := newGrant("fresh")
	fresh.ProviderUID, fresh.RefreshUntil = "", time.Now().Add(time.Second).Truncate(time.Second)
	for name, g := range map[string]storage.Grant{"everything set": full, "its end is near": bare, "kept for its code": fresh} {
		was := mustCreate(t, s, g)
		r := rotationOf(was)
		before, after, basis, err := rotator.Rotate(t.Context(), r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		checkSame(t, before, was)
		want := was
		want.RefreshTokenNumber++
		want.Attempt, want.SealingKID, want.RefreshTokenIssuedAt, want.LastUsedAt = r.Attempt, r.SealingKID, r.At, r.At
		want.ExpiresAt = r.Expiry.Of(was)
		checkSame(t, after, want)
		stored := mustGet(t, s, was.ID)
		checkSame(t, stored, want)
		if stored.Version != after.Version || after.Version == was.Version || before.Version != was.Version {
			t.Errorf("%s: the version was %q, and is %q; returned were %q and %q", name, was.Version, stored.Version, before.Version, after.Version)
		}
		if basis.SessionEnded || basis.ConsentExists != g.Consented {
			t.Errorf("%s: it rests on %+v", name, basis)
		}
	}
	if err := s.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: full.SessionHash, ExpiresAt: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteConsent(t.Context(), full.UserUID, full.ClientUID); err != nil {
		t.Fatal(err)
	}
	_, _, basis, err := rotator.Rotate(t.Context(), rotationOf(mustGet(t, s, full.ID)))
	if err != nil || !basis.SessionEnded || basis.ConsentExists {
		t.Errorf("without session and consent, it rests on %+v (%v)", basis, err)
	}
}

// rotationNeedsMatch checks that of a grant that is not as the Rotation says nothing is changed.
func rotationNeedsMatch(t *testing.T, s Backend) {
	rotator := rotatorOf(t, s)
	g := newGrant("a")
	g.ProviderUID = ""
	g = mustCreate(t, s, g)
	for name, change := range map[string]func(*storage.Rotation){
		"another grant":          func(r *storage.Rotation) { r.GrantID = "b" },
		"another incarnation":    func(r *storage.Rotation) { r.Incarnation = "second" },
		"another client":         func(r *storage.Rotation) { r.ClientUID = "another" },
		"a client of that name":  func(r *storage.Rotation) { r.ClientID = "another" },
		"the token before it":    func(r *storage.Rotation) { r.Number-- },
		"the token after it":     func(r *storage.Rotation) { r.Number++ },
		"not used for too long":  func(r *storage.Rotation) { r.LastUsedAfter = g.LastUsedAt },
		"never used at its time": func(r *storage.Rotation) { r.LastUsedAfter = r.At.Add(time.Hour) },
	} {
		r := rotationOf(g)
		change(&r)
		if _, _, _, err := rotator.Rotate(t.Context(), r); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("%s: %v, want ErrConflict", name, err)
		}
	}
	elsewhere := mustCreate(t, s, newGrant("elsewhere"))
	if _, _, _, err := rotator.Rotate(t.Context(), rotationOf(elsewhere)); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("of a user of an identity provider: %v, want ErrConflict", err)
	}
	checkSame(t, mustGet(t, s, "a"), g)
	g.End(time.Now(), storage.EndRevoked)
	ended, err := s.UpdateGrant(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := rotator.Rotate(t.Context(), rotationOf(ended)); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("after its end: %v, want ErrConflict", err)
	}
	checkSame(t, mustGet(t, s, "a"), ended)
}

func parallelRotations(t *testing.T, s Backend) {
	rotator := rotatorOf(t, s)
	g := newGrant("a")
	g.ProviderUID = ""
	g = mustCreate(t, s, g)
	won, errs := runParallel(func(int) error {
		_, _, _, err := rotator.Rotate(t.Context(), rotationOf(g))
		return err
	})
	checkOneWon(t, won, errs, storage.ErrConflict)
	if got := mustGet(t, s, "a").RefreshTokenNumber; got != g.RefreshTokenNumber+1 {
		t.Errorf("the number is %d after %d", got, g.RefreshTokenNumber)
	}
}

// rotationsAndUpdates checks that of a rotation and an update of the version before it one wins.
func rotationsAndUpdates(t *testing.T, s Backend) {
	rotator := rotatorOf(t, s)
	g := newGrant("a")
	g.ProviderUID = ""
	g = mustCreate(t, s, g)
	for range 20 {
		g = mustGet(t, s, "a")
		won, errs := runParallel(func(i int) error {
			if i%2 == 0 {
				_, _, _, err := rotator.Rotate(t.Context(), rotationOf(g))
				return err
			}
			next := g
			next.RefreshTokenNumber++
			_, err := s.UpdateGrant(t.Context(), next)
			return err
		})
		checkOneWon(t, won, errs, storage.ErrConflict)
		if got := mustGet(t, s, "a").RefreshTokenNumber; got != g.RefreshTokenNumber+1 {
			t.Fatalf("the number is %d after %d", got, g.RefreshTokenNumber)
		}
	}
}
