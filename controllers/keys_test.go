package controllers

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/metadata"
)

const sealing = documents.AlgorithmSealing

// keyWorld is a server whose keys are kept: the ring, what is asked of it, and a clock. Replicas hold a key as soon as it is in the ring, unless the
// test says otherwise.
type keyWorld struct {
	t    *testing.T
	ring keyRing
	plan keyPlan
	wake time.Time
	made int
}

func newKeyWorld(t *testing.T) *keyWorld {
	w := &keyWorld{t: t}
	w.plan = keyPlan{
		algorithms: []string{"ES256", "RS256"}, interval: 2160 * time.Hour, token: 5 * time.Minute, sealed: 2160 * time.Hour,
		live: true, held: func(kid string) bool { return w.ring.has(kid) }, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	return w
}

func (w *keyWorld) generate(algorithm string) (string, error) {
	w.made++
	return fmt.Sprintf("%s-%d", algorithm, w.made), nil
}

// advance keeps the keys some time later, and tells the token servers.
func (w *keyWorld) advance(after time.Duration) {
	w.t.Helper()
	w.plan.now = w.plan.now.Add(after)
	next, wake, err := w.ring.advance(w.plan, w.generate)
	if err != nil {
		w.t.Fatal(err)
	}
	w.ring, w.wake, w.plan.served = next, wake, next.documents()
}

// settle keeps the keys until there is nothing more to do at this moment.
func (w *keyWorld) settle(after time.Duration) {
	w.t.Helper()
	w.advance(after)
	for range 10 {
		before := w.ring
		if w.advance(0); reflect.DeepEqual(before, w.ring) {
			return
		}
	}
	w.t.Fatal("the keys change without end")
}

// kids of an algorithm in a phase.
func (w *keyWorld) kids(algorithm, phase string) []string {
	var kids []string
	for _, k := range w.ring.Keys {
		if k.Algorithm == algorithm && k.Phase == phase {
			kids = append(kids, k.KID)
		}
	}
	return kids
}

// only is the one key of an algorithm in a phase.
func (w *keyWorld) only(algorithm, phase string) string {
	w.t.Helper()
	kids := w.kids(algorithm, phase)
	if len(kids) != 1 {
		w.t.Fatalf("%s keys of %s: %q, want one", phase, algorithm, kids)
	}
	return kids[0]
}

func (w *keyWorld) active(algorithm string) string {
	w.t.Helper()
	return w.only(algorithm, documents.KeyActive)
}
func (w *keyWorld) standby(algorithm string) string {
	w.t.Helper()
	return w.only(algorithm, documents.KeyPublished)
}

func eachAlgorithm() []string { return []string{"ES256", "RS256", sealing} }

func TestAKeyIsPublishedTwiceAsLongAsVerifiersCacheTheJWKS(t *testing.T) {
	if publishedFor < 2*metadata.MaxAge*time.Second {
		t.Errorf("published for %s, cached for %d s", publishedFor, metadata.MaxAge)
	}
}

func TestTheFirstKeysAreActiveAtOnceAndHaveAStandby(t *testing.T) {
	w := newKeyWorld(t)
	w.plan.live, w.plan.held = false, func(string) bool { return false } // no token server can run before there are keys
	w.advance(0)
	for _, algorithm := range eachAlgorithm() {
		if w.active(algorithm) == w.standby(algorithm) {
			t.Errorf("one key is both for %s", algorithm)
		}
	}
	if w.made != 6 {
		t.Errorf("%d keys were made", w.made)
	}
	if want := w.plan.now.Add(w.plan.interval); w.wake != want {
		t.Errorf("looks again at %s, want %s", w.wake, want)
	}
}

func TestNothingIsDoneTwice(t *testing.T) {
	w := newKeyWorld(t)
	w.settle(0)
	before, made := w.ring, w.made
	for range 100 {
		w.advance(time.Hour)
	}
	if !reflect.DeepEqual(before, w.ring) || w.made != made {
		t.Errorf("the keys were\n%+v\nand are\n%+v", before, w.ring)
	}
}

func TestTheRingThatWasGivenStaysAsItWas(t *testing.T) {
	w := newKeyWorld(t)
	w.settle(0)
	before, text := w.ring, mustEncodeRing(t, w.ring)
	w.plan.revision, w.plan.revoked = 1, []string{w.active("RS256")}
	w.settle(time.Hour)
	if mustEncodeRing(t, before) != text {
		t.Error("advance changed the ring that it was called on")
	}
}

func TestKeysAreReplacedWhenTheIntervalIsOver(t *testing.T) {
	w := newKeyWorld(t)
	w.settle(0)
	standbys := map[string]string{}
	for _, algorithm := range eachAlgorithm() {
		standbys[algorithm] = w.standby(algorithm)
	}
	before := w.ring
	if w.advance(w.plan.interval - time.Second); !reflect.DeepEqual(w.ring, before) {
		t.Fatal("replaced before the interval was over")
	}
	old := w.active("ES256")
	w.advance(time.Second)
	for algorithm, standby := range standbys {
		if got := w.active(algorithm); got != standby {
			t.Errorf("%s: %s is Active, want the standby %s", algorithm, got, standby)
		}
		if got := w.standby(algorithm); got == standby {
			t.Errorf("%s: no new standby", algorithm)
		}
	}
	if got := w.only("ES256", documents.KeyRetiring); got != old {
		t.Errorf("%s retires, want %s", got, old)
	}
}

func TestANewSigningKeyIsPublishedLongEnoughBeforeItSigns(t *testing.T) {
	w := newKeyWorld(t)
	w.settle(0)
	standby, sealer := w.standby("ES256"), w.standby(sealing)
	w.plan.revision = 1 // the standby was made this second
	w.advance(0)
	if w.active(sealing) != sealer {
		t.Error("the sealing key waits, though verifiers do not know it")
	}
	for elapsed := time.Duration(0); elapsed < 2*metadata.MaxAge*time.Second; elapsed += time.Minute {
		if w.active("ES256") == standby {
			t.Fatalf("signs %s after it was published", elapsed)
		}
		w.advance(time.Minute)
	}
	if w.active("ES256") != standby {
		t.Errorf("does not sign %s after it was published", publishedFor)
	}
}

func TestAKeyIsPublishedFromWhenAllReplicasHoldItNotFromWhenItWasMade(t *testing.T) {
	w := newKeyWorld(t)
	lacks := true
	w.plan.held = func(string) bool { return !lacks }
	w.settle(0)
	standby := w.standby("ES256")
	w.plan.revision = 1
	w.advance(24 * time.Hour)
	lacks = false // its JWKS had no such key until now
	w.advance(time.Second)
	w.advance(publishedFor - time.Second)
	if w.active("ES256") == standby {
		t.Error("signs while verifiers still have a JWKS without it")
	}
	if want := w.plan.now.Add(time.Second); w.wake != want {
		t.Errorf("looks again at %s, want %s", w.wake, want)
	}
	lacks = true // one that comes up without it, for a moment
	w.advance(time.Second)
	lacks = false
	w.advance(time.Second)
	w.advance(publishedFor - time.Second)
	if w.active("ES256") == standby {
		t.Error("signs while verifiers have a JWKS from a replica that lacked it")
	}
	if w.advance(time.Second); w.active("ES256") != standby {
		t.Error("does not sign")
	}
}

func TestNoKeyIsUsedBeforeEveryLiveReplicaHoldsIt(t *testing.T) {
	for _, algorithm := range eachAlgorithm() {
		w := newKeyWorld(t)
		w.settle(0)
		standby := w.standby(algorithm)
		w.plan.held = func(kid string) bool { return kid != standby }
		w.plan.revision = 1
		for range 48 {
			if w.advance(time.Hour); w.active(algorithm) == standby {
				t.Fatalf("%s: in use, though a replica lacks it", algorithm)
			}
		}
		w.plan.held = w.ring.has
		w.advance(time.Minute)
		if w.advance(publishedFor); w.active(algorithm) != standby {
			t.Errorf("%s: not in use, though every replica holds it", algorithm)
		}
	}
}

func TestWithoutALiveReplicaNothingIsRotated(t *testing.T) {
	w := newKeyWorld(t)
	w.settle(0)
	before := w.ring.documents()
	w.plan.live, w.plan.held, w.plan.revision = false, func(string) bool { return false }, 1
	for range 400 {
		w.advance(24 * time.Hour)
	}
	if !reflect.DeepEqual(w.ring.documents(), before) {
		t.Errorf("the keys were\n%+v\nand are\n%+v", before, w.ring.documents())
	}
}

func TestARetiringSigningKeyStaysUntilTheLastTokenThatItSignedHasExpired(t *testing.T) {
	w := newKeyWorld(t)
	w.settle(0)
	w.plan.token = 24 * time.Hour
	w.advance(time.Hour) // a token of a day may be signed
	w.plan.token = time.Minute
	w.advance(time.Hour) // and a moment before the next line it may still be
	old := w.active("ES256")
	w.plan.revision = 1
	w.advance(time.Hour)
	if w.active("ES256") == old {
		t.Fatal("was not rotated")
	}
	if w.advance(24 * time.Hour); !w.ring.has(old) {
		t.Error("gone while a token that it signed is valid")
	}
	if want := w.plan.now.Add(retireMargin); w.wake != want {
		t.Errorf("looks again at %s, want %s", w.wake, want)
	}
	if w.advance(retireMargin); w.ring.has(old) {
		t.Error("stays forever")
	}
}

func TestAKeyStaysAsLongAsItsTokensThoughTheNextManagersClockIsFiveMinutesAhead(t *testing.T) {
	w := newKeyWorld(t)
	w.settle(0)
	old := w.active("ES256")
	w.plan.revision = 1
	w.advance(time.Hour)
	if w.active("ES256") == old {
		t.Fatal("was not rotated")
	}
	w.plan.now = w.plan.now.Add(5 * time.Minute) // another manager leads
	if w.advance(w.plan.token); !w.ring.has(old) {
		t.Error("gone while a token that it signed is valid")
	}
}

func TestARetiringSealingKeyStaysForTheLongestRefreshTokenOrSession(t *testing.T) {
	w := newKeyWorld(t)
	w.settle(0)
	old := w.active(sealing)
	w.plan.revision = 1
	w.advance(time.Hour)
	if got := w.only(sealing, documents.KeyRetiring); got != old {
		t.Fatalf("%s retires, want %s", got, old)
	}
	if w.advance(w.plan.sealed); !w.ring.has(old) {
		t.Error("gone while a refresh token that it sealed is valid")
	}
	if w.advance(retireMargin); w.ring.has(old) {
		t.Error("stays forever")
	}
}

func TestASealingKeyStaysLongerWhenSessionsAreMadeLonger(t *testing.T) {
	w := newKeyWorld(t)
	w.plan.sealed = time.Hour
	w.settle(0)
	old := w.active(sealing)
	w.plan.revision = 1
	w.advance(time.Hour)
	w.plan.sealed = 48 * time.Hour // sessions that began before live by it too
	if w.advance(time.Minute); !w.ring.has(old) {
		t.Fatal("gone at once")
	}
	if w.advance(48*time.Hour - time.Minute); !w.ring.has(old) {
		t.Error("gone while a session that it sealed is valid")
	}
}

func TestAKeyThatTokenServersStillUseStaysThoughTheRingSaysThatItRetires(t *testing.T) {
	w := newKeyWorld(t)
	w.settle(0)
	old, served := w.active("ES256"), w.plan.served
	w.plan.revision = 1
	w.advance(time.Hour)
	// The ring was written and the document was not: for a day the token servers have signed with the old key.
	w.plan.served = served
	w.plan.now = w.plan.now.Add(24 * time.Hour)
	w.advance(0)
	for range 5 {
		if w.advance(time.Minute); !w.ring.has(old) {
			t.Fatal("gone while a token that it signed is valid")
		}
	}
	if w.advance(retireMargin); w.ring.has(old) {
		t.Error("stays forever")
	}
}

func TestRevokingAKeyPromotesTheStandbyAtOnceAndRemovesTheKey(t *testing.T) {
	for _, algorithm := range eachAlgorithm() {
		for name, live := range map[string]bool{"live replicas": true, "none": false} {
			w := newKeyWorld(t)
			w.settle(0)
			revoked, standby := w.active(algorithm), w.standby(algorithm)
			if !live {
				w.plan.live, w.plan.held = false, func(string) bool { return false }
			}
			w.plan.revoked = []string{revoked}
			w.advance(time.Second) // verifiers may not know the standby; they look it up
			if w.ring.has(revoked) {
				t.Errorf("%s, %s: the revoked key is still there", algorithm, name)
			}
			if w.active(algorithm) != standby || w.standby(algorithm) == standby {
				t.Errorf("%s, %s: %s is Active, %s is the standby", algorithm, name, w.active(algorithm), w.standby(algorithm))
			}
			if len(w.kids(algorithm, documents.KeyRetiring)) > 0 {
				t.Errorf("%s, %s: it retires", algorithm, name)
			}
		}
	}
}

func TestRevokingTheStandbyMakesAnother(t *testing.T) {
	w := newKeyWorld(t)
	w.settle(0)
	active, standby := w.active("ES256"), w.standby("ES256")
	w.plan.revoked = []string{standby}
	w.advance(time.Second)
	if w.active("ES256") != active || w.standby("ES256") == standby || w.ring.has(standby) {
		t.Errorf("%+v", w.ring.Keys)
	}
}

func TestRevokingAllKeysWaitsForTheReplicasToHoldNewOnes(t *testing.T) {
	w := newKeyWorld(t)
	w.settle(0)
	for _, k := range w.ring.Keys {
		w.plan.revoked = append(w.plan.revoked, k.KID)
	}
	lacks := true
	w.plan.held = func(string) bool { return !lacks }
	w.advance(time.Second)
	for _, algorithm := range eachAlgorithm() {
		if kids := w.kids(algorithm, documents.KeyActive); len(kids) > 0 {
			t.Errorf("%s: %q is in use, which no replica holds", algorithm, kids)
		}
	}
	lacks = false
	w.advance(time.Second)
	for _, algorithm := range eachAlgorithm() {
		if slices.Contains(w.plan.revoked, w.active(algorithm)) || w.standby(algorithm) == "" {
			t.Errorf("%s: %+v", algorithm, w.ring.Keys)
		}
	}
}

func TestRaisingTheRevisionRotatesOnceAndLoweringDoesNothing(t *testing.T) {
	w := newKeyWorld(t)
	w.settle(0)
	rotated := func(after time.Duration) bool {
		before := w.active("RS256")
		w.settle(after)
		return w.active("RS256") != before
	}
	w.plan.revision = 5
	if !rotated(time.Hour) {
		t.Error("raised: not rotated")
	}
	if rotated(time.Hour) {
		t.Error("rotated again")
	}
	w.plan.revision = 3
	if rotated(time.Hour) {
		t.Error("lowered: rotated")
	}
	w.plan.interval = time.Hour
	if !rotated(time.Hour) {
		t.Error("the interval is over: not rotated")
	}
	w.plan.interval, w.plan.revision = 2160*time.Hour, 5
	if rotated(time.Hour) {
		t.Error("raised to what it was: rotated, though the key is newer than that revision")
	}
	w.plan.revision = 6
	if !rotated(time.Hour) {
		t.Error("raised further: not rotated")
	}
}

func TestANewAlgorithmIsPublishedBeforeItIsUsed(t *testing.T) {
	w := newKeyWorld(t)
	w.plan.algorithms = []string{"RS256"}
	w.settle(0)
	if len(w.kids("ES256", documents.KeyPublished)) > 0 {
		t.Fatal("a key of an algorithm that nobody asked for")
	}
	rs := w.active("RS256")
	w.plan.algorithms = []string{"ES256", "RS256"}
	w.settle(time.Hour)
	published := w.standby("ES256")
	w.advance(publishedFor - time.Second)
	if kids := w.kids("ES256", documents.KeyActive); len(kids) > 0 {
		t.Fatalf("%q is Active before verifiers know it", kids)
	}
	w.advance(time.Second)
	if w.active("ES256") != published || w.standby("ES256") == published || w.active("RS256") != rs {
		t.Errorf("%+v", w.ring.Keys)
	}
}

func TestAnAlgorithmThatIsWantedNoMoreRetires(t *testing.T) {
	w := newKeyWorld(t)
	w.settle(0)
	old, standby := w.active("ES256"), w.standby("ES256")
	w.plan.algorithms = []string{"RS256"}
	w.advance(time.Hour)
	if w.only("ES256", documents.KeyRetiring) != old || w.ring.has(standby) {
		t.Errorf("%+v", w.ring.Keys)
	}
	w.advance(w.plan.token + retireMargin)
	if w.ring.has(old) {
		t.Error("stays forever")
	}
	w.plan.algorithms = []string{"ES256", "RS256"}
	w.settle(time.Hour)
	if kids := w.kids("ES256", documents.KeyActive); len(kids) > 0 {
		t.Errorf("wanted again: %q is Active before verifiers know it", kids)
	}
}

func TestKeysAreTakenUpByAServerThatIsCreatedAgain(t *testing.T) {
	w := newKeyWorld(t)
	w.settle(0)
	before := w.ring.documents()
	w.plan.served = nil // a new server: no document yet
	w.plan.live, w.plan.held = false, func(string) bool { return false }
	if w.advance(time.Hour); !reflect.DeepEqual(w.ring.documents(), before) {
		t.Errorf("the keys were\n%+v\nand are\n%+v", before, w.ring.documents())
	}
}

func TestARevisionThatIsRaisedInALoopFillsNoSecretAndStopsNoSigningKey(t *testing.T) {
	w := newKeyWorld(t)
	w.plan.sealed = 8760 * time.Hour
	w.settle(0)
	signing := map[string]bool{}
	for range 200 {
		w.plan.revision++
		w.settle(time.Hour)
		signing[w.active("ES256")] = true
		if n := len(w.kids(sealing, documents.KeyRetiring)); n > 16 {
			t.Fatalf("%d sealing keys retire", n)
		}
	}
	if len(w.ring.Keys) > 26 {
		t.Errorf("%d keys", len(w.ring.Keys))
	}
	if len(signing) != 200 {
		t.Errorf("of 200 rotations %d replaced the signing key", len(signing))
	}
	old := w.active(sealing)
	pending := w.ring.pending(w.plan)
	if len(pending) != 1 || pending[0].algorithm != sealing || !pending[0].at.After(w.plan.now) {
		t.Fatalf("pending are %+v", pending)
	}
	if w.settle(pending[0].at.Sub(w.plan.now) - time.Second); w.active(sealing) != old {
		t.Error("goes on while there is no room")
	}
	if w.settle(time.Second); w.active(sealing) == old {
		t.Error("does not go on when it said that it would")
	}
}

func TestAShortIntervalLeavesRoomForSealingKeysThatAreAskedFor(t *testing.T) {
	w := newKeyWorld(t)
	w.plan.interval, w.plan.sealed = time.Hour, 2160*time.Hour
	w.settle(0)
	signing := w.active("ES256")
	for range 24 * 100 {
		w.settle(time.Hour)
	}
	if n := len(w.kids(sealing, documents.KeyRetiring)); n > 9 || n == 0 {
		t.Errorf("%d sealing keys retire", n)
	}
	if w.active("ES256") == signing {
		t.Error("signing keys are not replaced")
	}
	old := w.active(sealing)
	w.plan.revision++
	if w.settle(time.Second); w.active(sealing) == old {
		t.Error("what is asked for waits")
	}
}

func TestARotationThatIsPendingSaysForWhatItWaitsAndUntilWhen(t *testing.T) {
	w := newKeyWorld(t)
	w.settle(0)
	if pending := w.ring.pending(w.plan); len(pending) > 0 {
		t.Errorf("nothing is asked for, and pending are %+v", pending)
	}
	w.plan.revision = 1
	w.settle(time.Minute)
	want := map[string]string{"ES256": w.standby("ES256"), "RS256": w.standby("RS256")}
	pending := w.ring.pending(w.plan)
	for _, k := range pending {
		if k.kid != want[k.algorithm] || !k.at.Equal(w.plan.now.Add(publishedFor-time.Minute)) || !strings.Contains(k.waits, "verifiers") {
			t.Errorf("%+v", k)
		}
	}
	if len(pending) != len(want) {
		t.Errorf("pending are %+v, want %v", pending, want)
	}
	w.plan.held = func(string) bool { return false }
	w.settle(time.Minute)
	if pending := w.ring.pending(w.plan); len(pending) != 2 || !pending[0].at.IsZero() || !strings.Contains(pending[0].waits, "token server") {
		t.Errorf("a replica lacks it, and pending are %+v", pending)
	}
	w.plan.held = w.ring.has
	w.settle(time.Minute)
	if w.settle(publishedFor); len(w.ring.pending(w.plan)) > 0 {
		t.Errorf("rotated, and pending are %+v", w.ring.pending(w.plan))
	}
}

func TestNothingChangesWhenAKeyCannotBeMade(t *testing.T) {
	w := newKeyWorld(t)
	w.settle(0)
	broken := errors.New("no randomness")
	w.plan.revision = 1
	w.plan.now = w.plan.now.Add(time.Hour)
	next, _, err := w.ring.advance(w.plan, func(string) (string, error) { return "", broken })
	if !errors.Is(err, broken) || !reflect.DeepEqual(next, w.ring) {
		t.Errorf("%+v, %v", next, err)
	}
}

func TestTheEarliestOfTwoTimesIgnoresNever(t *testing.T) {
	early, late := time.Unix(1, 0), time.Unix(2, 0)
	for _, c := range []struct{ a, b, want time.Time }{
		{early, late, early}, {late, early, early}, {time.Time{}, late, late}, {late, time.Time{}, late}, {time.Time{}, time.Time{}, time.Time{}},
	} {
		if got := earliest(c.a, c.b); got != c.want {
			t.Errorf("earliest(%v, %v) = %v", c.a, c.b, got)
		}
	}
}

func mustEncodeRing(t *testing.T, ring keyRing) string {
	t.Helper()
	text, err := json.Marshal(ring)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
