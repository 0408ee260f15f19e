// Package storagetest contains the conformance tests that every store passes, and a store whose
// calls fail on request.
//
//	storagetest.go    Run, and the tests of grants
//	basis.go          the tests of what a grant rests on
//	rotation.go       the tests of rotations of grants that were not read
//	consents.go       the tests of consents
//	identities.go     the tests of identities
//	marks.go          the tests of marks and the sweep
//	created_marks.go  the tests of marks that are created once
//	void.go           the tests of grants that tokensNotBefore voids
//	edges.go          the tests of races, bounds and unusual values
//	faulty.go         Faulty, a store whose calls fail on request
package storagetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Backend is a store under test, with what tests have to do to it from outside.
type Backend interface {
	storage.Store
	// SetMarkBounds replaces the bounds on marks of a kind.
	SetMarkBounds(kind storage.MarkKind, bounds storage.MarkBounds)
	// SetGrantBounds replaces the bounds on live grants.
	SetGrantBounds(perUserAndClient, perServer int)
	// DeleteConsent deletes a consent, as people do with kubectl or SQL to withdraw it. It returns
	// nil if there is none.
	DeleteConsent(ctx context.Context, userUID, clientUID string) error
	// SetIdentityBound replaces the bound on identities of the server.
	SetIdentityBound(perServer int)
	// DeleteIdentity deletes an identity, as people do with kubectl or SQL. It returns nil if there
	// is none.
	DeleteIdentity(ctx context.Context, subject string) error
}

// Run tests a backend. Open returns an empty store for one test, with the real time as its clock
// and the default bounds.
func Run(t *testing.T, open func(t *testing.T) Backend) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s Backend)
	}{
		{"AGrantIsReadAsItWasWritten", grantIsReadAsWritten},
		{"EveryFieldOfAGrantIsKept", everyFieldIsTested},
		{"LongAndStrangeValuesAreKept", longValuesAreKept},
		{"AGrantWithoutWhatIsOptionalIsReadAsItWasWritten", smallGrantIsReadAsWritten},
		{"ARecentReadFindsWhatWasCreatedAndSoonWhatWasChanged", recentReads},
		{"WhatAGrantRestsOnIsAsTheStoreHasIt", basisIsReadWithGrant},
		{"NoGrantIsCreatedInASessionThatHasEnded", noGrantInEndedSession},
		{"AGrantIsCreatedOnce", grantIsCreatedOnce},
		{"OfFiftyParallelCreatesOneWins", parallelCreates},
		{"AnUpdateNeedsTheVersionThatWasRead", updateNeedsVersion},
		{"OfFiftyParallelUpdatesOneWins", parallelUpdates},
		{"NoUpdateIsLost", noUpdateIsLost},
		{"ARotationIsWhatReadingAndUpdatingTheGrantWouldBe", rotationIsReadAndUpdate},
		{"AGrantThatIsNotAsARotationSaysIsNotChanged", rotationNeedsMatch},
		{"OfFiftyParallelRotationsOneWins", parallelRotations},
		{"OfRotationsAndUpdatesOfOneVersionOneWins", rotationsAndUpdates},
		{"AnEndedGrantKeepsItsID", endedKeepsID},
		{"TheOldestGrantOfAPairEndsAtTheBound", oldestEndsAtBound},
		{"EndedAndExpiredGrantsDoNotCountForTheBound", endedDoNotCount},
		{"VoidGrantsCountAgainstNoBoundOfAPair", voidDoNotCountForPair},
		{"VoidGrantsDoNotCountAgainstTheBoundOfAServer", voidDoNotCountForServer},
		{"AnIDThatIsTakenEndsNothing", takenIDEndsNothing},
		{"FiftyParallelCreatesKeepTheBoundOfAPair", parallelCreatesOfAPair},
		{"AnOldVersionOfWhatWasRemovedReplacesNothing", oldVersionsStayOld},
		{"AConsentIsReplacedOnlyByWhoReadIt", consentNeedsVersion},
		{"AConsentCanBeDeletedTwice", consentDeletedTwice},
		{"AConsentIsOfOnePair", consentsAreApart},
		{"AConsentIsReadAsWritten", consentIsReadAsWritten},
		{"AConsentThatIsGivenAgainIsAnother", consentGivenAgain},
		{"AWithdrawnConsentEndsWhatRestsOnItAndNothingElse", withdrawnConsentEnds},
		{"OfFiftyParallelConsentsOneWins", parallelConsents},
		{"AnIdentityIsReadAsItWasWritten", identityIsReadAsWritten},
		{"OfFiftyParallelFirstSignInsOneCreatesTheIdentity", parallelIdentities},
		{"AnUpdateOfAnIdentityNeedsTheVersionThatWasRead", identityNeedsVersion},
		{"OlderClaimsNeverReplaceNewerOnes", olderClaimsStayOut},
		{"OfFiftyParallelUpdatesOfAnIdentityTheNewestClaimsStay", newestClaimsStay},
		{"AnIdentityThatIsCreatedAgainIsAnother", identityCreatedAgain},
		{"ARecentReadFindsIdentitiesAndWhatTheStoreItselfHasChanged", recentIdentities},
		{"AnIdentityIsRefusedAtTheBoundOfItsProviderAndOfTheServer", identitiesHaveBounds},
		{"TheSweepRemovesIdentitiesThatAreIdleAndThatNothingNeeds", sweepRemovesIdle},
		{"TheSweepRemovesNoIdentityBeforeItKnowsTheSpecs", sweepWaitsForSpecs},
		{"AMarkHoldsUntilItsTime", markHolds},
		{"AMarkCanBeSetTwice", markSetTwice},
		{"AMarkCanBeSetByFiftyAtOnce", parallelMarks},
		{"AMarkIsRefusedAtTheBoundOfWhoseItIsAndOfNoOther", marksHaveBounds},
		{"APlaceIsFreeOnceItsMarkHasExpired", placesAreFreed},
		{"FiftyParallelMarksKeepABound", parallelMarksKeepBound},
		{"TheMarksOfAUserAreCounted", marksAreCounted},
		{"AMarkIsCreatedOnce", markIsCreatedOnce},
		{"OfFiftyParallelCreationsOfAMarkOneWins", parallelMarkCreations},
		{"AMarkIsNotCreatedAtTheBoundOfItsClientAndAtNoOther", createdMarksHaveBounds},
		{"ACallWithoutTimeLeftDoesNothing", withoutTime},
		{"TheSweepRemovesWhatHasExpiredAndNothingElse", sweepRemovesExpired},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// fullGrant returns a live grant with every field set, and creates the consent that it rests on,
// since a store may end a grant without one.
func fullGrant(t *testing.T, s storage.Store) storage.Grant {
	t.Helper()
	g := newGrant("a")
	consent := newConsent()
	consent.UserUID, consent.ClientUID = g.UserUID, g.ClientUID
	g.Consented, g.ConsentUID = true, mustPut(t, s, consent).UID
	return g
}

// newGrant returns a live grant that rests on no consent, with every other field set.
func newGrant(id string) storage.Grant {
	now := time.Now().Truncate(time.Second)
	return storage.Grant{
		ID: id, Incarnation: "incarnation", Attempt: "attempt",
		ClientUID: "client-uid", ClientID: "shop.web", UserUID: "user-uid", Subject: "248289761001", UserEpoch: "epoch",
		SessionHash: "session", AuthTime: now.Add(-time.Minute), AMR: []string{"pwd"}, ProviderUID: "provider-uid", SignedInAt: now.Add(-30 * time.Second),
		Scopes: []string{"openid", "orders:read"}, Resources: []string{"https://orders.example.com"}, Claims: []string{"name", "email"},
		APIs: []storage.API{
			{UID: "orders-uid", Identifier: "https://orders.example.com", Scopes: []string{"orders:read"}},
			{UID: "stock-uid", Identifier: "urn:example:stock"},
		},
		RedirectURI: "https://shop.example.com/callback", Nonce: "nonce", ClaimsRequest: `{"id_token":{"email":null}}`,
		Offline: true, RefreshTokenNumber: 3, RefreshTokenIssuedAt: now, SealingKID: "seal-1",
		CreatedAt: now, LastUsedAt: now, RefreshUntil: now.Add(2 * time.Hour), ExpiresAt: now.Add(3 * time.Hour),
	}
}

func mustCreate(t *testing.T, s storage.Store, g storage.Grant) storage.Grant {
	t.Helper()
	created, err := s.CreateGrant(t.Context(), g)
	if err != nil {
		t.Fatalf("CreateGrant: %v", err)
	}
	return created
}

func mustGet(t *testing.T, s storage.Store, id string) storage.Grant {
	t.Helper()
	g, err := s.GetGrant(t.Context(), id)
	if err != nil {
		t.Fatalf("Grant: %v", err)
	}
	return g
}

// checkSame compares a grant that was read with the one that was written. Times may be in another
// zone.
func checkSame(t *testing.T, got, want storage.Grant) {
	t.Helper()
	for _, g := range []*storage.Grant{&got, &want} {
		g.Version = ""
		for _, at := range []*time.Time{&g.AuthTime, &g.SignedInAt, &g.RefreshTokenIssuedAt, &g.CreatedAt, &g.LastUsedAt, &g.RefreshUntil, &g.ExpiresAt, &g.EndedAt} {
			*at = at.UTC().Round(0)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v\nwant %+v", got, want)
	}
}

func grantIsReadAsWritten(t *testing.T, s Backend) {
	want := fullGrant(t, s)
	created := mustCreate(t, s, want)
	if created.Version == "" {
		t.Error("a created grant has no version")
	}
	checkSame(t, created, want)
	got := mustGet(t, s, "a")
	if got.Version != created.Version {
		t.Errorf("version is %q, was created as %q", got.Version, created.Version)
	}
	checkSame(t, got, want)
	got.Scopes[0] = "changed by the reader"
	checkSame(t, mustGet(t, s, "a"), want)
	if _, err := s.GetGrant(t.Context(), "b"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("reading an unknown id: %v, want ErrNotFound", err)
	}
}

// smallGrantIsReadAsWritten writes what a password grant without refresh tokens has.
func smallGrantIsReadAsWritten(t *testing.T, s Backend) {
	now := time.Now().Truncate(time.Microsecond)
	want := storage.Grant{
		ID: "a", Incarnation: "incarnation", Attempt: "attempt", ClientUID: "client-uid", ClientID: "shop.web", UserUID: "user-uid", Subject: "1",
		UserEpoch: "epoch", AuthTime: now, CreatedAt: now, LastUsedAt: now, ExpiresAt: now.Add(time.Hour),
	}
	checkSame(t, mustCreate(t, s, want), want)
	got := mustGet(t, s, "a")
	checkSame(t, got, want)
	if got.IsEnded() || !got.IsLive(now) {
		t.Errorf("it is not live: %+v", got)
	}
}

// recentReads checks that recent reads find every created record, and see the changes of their own
// store at once.
func recentReads(t *testing.T, s Backend) {
	recent := storage.RecentReader(s)
	g := mustCreate(t, s, newGrant("a"))
	got, err := recent.GetGrant(t.Context(), "a")
	if err != nil {
		t.Fatalf("Grant: %v", err)
	}
	checkSame(t, got, g)
	if marked, err := recent.IsMarked(t.Context(), storage.MarkToken, "a"); err != nil || marked {
		t.Errorf("before it is marked: %v, %v", marked, err)
	}
	g.End(time.Now(), storage.EndRevoked)
	if _, err := s.UpdateGrant(t.Context(), g); err != nil {
		t.Fatalf("UpdateGrant: %v", err)
	}
	setMark(t, s, storage.MarkToken, "a", time.Now().Add(time.Hour))
	if got, err = recent.GetGrant(t.Context(), "a"); err != nil || !got.IsEnded() {
		t.Errorf("after it has ended: %+v, %v", got, err)
	}
	if marked, err := recent.IsMarked(t.Context(), storage.MarkToken, "a"); err != nil || !marked {
		t.Errorf("after it was marked: %v, %v", marked, err)
	}
	if _, err := recent.GetGrant(t.Context(), "b"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("reading an unknown id: %v, want ErrNotFound", err)
	}
}

func grantIsCreatedOnce(t *testing.T, s Backend) {
	first := mustCreate(t, s, newGrant("a"))
	second := newGrant("a")
	second.Attempt = "another"
	if _, err := s.CreateGrant(t.Context(), second); !errors.Is(err, storage.ErrExists) {
		t.Errorf("creating an id again: %v, want ErrExists", err)
	}
	checkSame(t, mustGet(t, s, "a"), first)
}

// runParallel runs 50 goroutines at once. It returns how many succeeded, and the errors.
func runParallel(run func(i int) error) (won int, errs []error) {
	var (
		group sync.WaitGroup
		count atomic.Int64
		mu    sync.Mutex
		start = make(chan struct{})
	)
	for i := range 50 {
		group.Go(func() {
			<-start
			if err := run(i); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
				return
			}
			count.Add(1)
		})
	}
	close(start)
	group.Wait()
	return int(count.Load()), errs
}

func checkOneWon(t *testing.T, won int, errs []error, want error) {
	t.Helper()
	if won != 1 {
		t.Errorf("%d won, want 1", won)
	}
	for _, err := range errs {
		if !errors.Is(err, want) {
			t.Errorf("a loser got %v, want %v", err, want)
		}
	}
}

func parallelCreates(t *testing.T, s Backend) {
	won, errs := runParallel(func(i int) error {
		g := newGrant("a")
		g.Attempt = fmt.Sprint(i)
		_, err := s.CreateGrant(t.Context(), g)
		return err
	})
	checkOneWon(t, won, errs, storage.ErrExists)
}

func updateNeedsVersion(t *testing.T, s Backend) {
	created := mustCreate(t, s, newGrant("a"))
	next := created
	next.RefreshTokenNumber++
	updated, err := s.UpdateGrant(t.Context(), next)
	if err != nil {
		t.Fatalf("UpdateGrant: %v", err)
	}
	if updated.Version == created.Version {
		t.Error("an update keeps the version")
	}
	checkSame(t, mustGet(t, s, "a"), next)
	if _, err := s.UpdateGrant(t.Context(), next); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("updating an old version: %v, want ErrConflict", err)
	}
	unknown := updated
	unknown.ID = "b"
	if _, err := s.UpdateGrant(t.Context(), unknown); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("updating an unknown id: %v, want ErrNotFound", err)
	}
}

func parallelUpdates(t *testing.T, s Backend) {
	created := mustCreate(t, s, newGrant("a"))
	won, errs := runParallel(func(i int) error {
		g := created
		g.Attempt = fmt.Sprint(i)
		_, err := s.UpdateGrant(t.Context(), g)
		return err
	})
	checkOneWon(t, won, errs, storage.ErrConflict)
}

func noUpdateIsLost(t *testing.T, s Backend) {
	mustCreate(t, s, newGrant("a"))
	won, errs := runParallel(func(int) error {
		for {
			g, err := s.GetGrant(t.Context(), "a")
			if err != nil {
				return err
			}
			g.RefreshTokenNumber++
			if _, err = s.UpdateGrant(t.Context(), g); !errors.Is(err, storage.ErrConflict) {
				return err
			}
		}
	})
	if won != 50 {
		t.Fatalf("%d of 50 advanced the grant: %v", won, errs)
	}
	if got := mustGet(t, s, "a").RefreshTokenNumber; got != 53 {
		t.Errorf("generation is %d after 50 advances from 3, want 53", got)
	}
}

func endedKeepsID(t *testing.T, s Backend) {
	g := mustCreate(t, s, newGrant("a"))
	g.End(time.Now(), storage.EndRevoked)
	if _, err := s.UpdateGrant(t.Context(), g); err != nil {
		t.Fatalf("UpdateGrant: %v", err)
	}
	if _, err := s.CreateGrant(t.Context(), newGrant("a")); !errors.Is(err, storage.ErrExists) {
		t.Errorf("creating the id of an ended grant: %v, want ErrExists", err)
	}
	if got := mustGet(t, s, "a"); !got.IsEnded() || got.EndReason != storage.EndRevoked {
		t.Errorf("the grant has not ended: %+v", got)
	}
}

// createToBound creates as many grants of one user and client as the bound, the oldest first.
func createToBound(t *testing.T, s Backend) {
	now := time.Now()
	for i := range storage.MaxGrantsPerUserAndClient {
		g := newGrant(fmt.Sprint("g", i))
		g.CreatedAt = now.Add(time.Duration(i-100) * time.Second)
		mustCreate(t, s, g)
	}
}

func oldestEndsAtBound(t *testing.T, s Backend) {
	var notified []storage.Grant
	s.OnEnd(func(_ context.Context, g storage.Grant) { notified = append(notified, g) })
	createToBound(t, s)
	other := newGrant("other")
	other.ClientUID = "another client"
	mustCreate(t, s, other)
	if mustGet(t, s, "g0").IsEnded() {
		t.Fatal("a grant ended before the bound was reached")
	}
	mustCreate(t, s, newGrant("one more"))
	if g := mustGet(t, s, "g0"); !g.IsEnded() || g.EndReason != storage.EndBound {
		t.Errorf("the oldest grant has not ended for the bound: %+v", g)
	}
	if len(notified) != 1 || notified[0].ID != "g0" || notified[0].EndReason != storage.EndBound || notified[0].ClientID != "shop.web" || notified[0].UserUID != "user-uid" {
		t.Errorf("the store has called OnEnd for %+v", notified)
	}
	for _, id := range []string{"g1", "g19", "other", "one more"} {
		if mustGet(t, s, id).IsEnded() {
			t.Errorf("%s has ended, and only the oldest of the pair should have", id)
		}
	}
}

func endedDoNotCount(t *testing.T, s Backend) {
	createToBound(t, s)
	ended := mustGet(t, s, "g19")
	ended.End(time.Now(), storage.EndRevoked)
	if _, err := s.UpdateGrant(t.Context(), ended); err != nil {
		t.Fatal(err)
	}
	expired := mustGet(t, s, "g18")
	expired.ExpiresAt = time.Now().Add(-time.Second)
	if _, err := s.UpdateGrant(t.Context(), expired); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, newGrant("in place of the ended one"))
	mustCreate(t, s, newGrant("in place of the expired one"))
	if mustGet(t, s, "g0").IsEnded() {
		t.Error("the oldest grant has ended although there was room")
	}
	mustCreate(t, s, newGrant("one more"))
	if !mustGet(t, s, "g0").IsEnded() {
		t.Error("the oldest grant has not ended although there was no room")
	}
}
