package keyring

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

// ringTest is a ring, with the input that advances it. Replicas hold a key as soon as it is in the
// ring, unless the test changes that.
type ringTest struct {
	t    *testing.T
	ring Ring
	in   Input
	next time.Time
	made int
}

func newRingTest(t *testing.T) *ringTest {
	r := &ringTest{t: t}
	r.in = Input{
		Algorithms: []string{"ES256", "RS256"}, Interval: 2160 * time.Hour, TokenLifetime: 5 * time.Minute, SealedLifetime: 2160 * time.Hour,
		HasReplicas: true, IsHeld: func(kid string) bool { return r.ring.Has(kid) }, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	return r
}

func (r *ringTest) generate(algorithm string) (string, error) {
	r.made++
	return fmt.Sprintf("%s-%d", algorithm, r.made), nil
}

// advance advances the ring some time later, and has the token servers read it.
func (r *ringTest) advance(after time.Duration) {
	r.t.Helper()
	r.in.Now = r.in.Now.Add(after)
	next, at, err := r.ring.Advance(r.in, r.generate)
	if err != nil {
		r.t.Fatal(err)
	}
	r.ring, r.next, r.in.Served = next, at, next.Documents()
}

// advanceUntilStable advances the ring some time later until nothing changes at that time.
func (r *ringTest) advanceUntilStable(after time.Duration) {
	r.t.Helper()
	r.advance(after)
	for range 10 {
		before := r.ring
		if r.advance(0); reflect.DeepEqual(before, r.ring) {
			return
		}
	}
	r.t.Fatal("the keys change without end")
}

// kids returns the keys of an algorithm in a phase.
func (r *ringTest) kids(algorithm, phase string) []string {
	var kids []string
	for _, k := range r.ring.Keys {
		if k.Algorithm == algorithm && k.Phase == phase {
			kids = append(kids, k.KID)
		}
	}
	return kids
}

// only returns the one key of an algorithm in a phase.
func (r *ringTest) only(algorithm, phase string) string {
	r.t.Helper()
	kids := r.kids(algorithm, phase)
	if len(kids) != 1 {
		r.t.Fatalf("%s keys of %s: %q, want one", phase, algorithm, kids)
	}
	return kids[0]
}

func (r *ringTest) active(algorithm string) string {
	r.t.Helper()
	return r.only(algorithm, documents.KeyActive)
}
func (r *ringTest) standby(algorithm string) string {
	r.t.Helper()
	return r.only(algorithm, documents.KeyPublished)
}

func eachAlgorithm() []string { return []string{"ES256", "RS256", sealing} }

func TestAKeyIsPublishedTwiceAsLongAsVerifiersCacheTheJWKS(t *testing.T) {
	if PublishedFor < 2*metadata.MaxAge*time.Second {
		t.Errorf("published for %s, cached for %d s", PublishedFor, metadata.MaxAge)
	}
}

func TestTheFirstKeysAreActiveAtOnceAndHaveAStandby(t *testing.T) {
	r := newRingTest(t)
	// No token server can run before there are keys.
	r.in.HasReplicas, r.in.IsHeld = false, func(string) bool { return false }
	r.advance(0)
	for _, algorithm := range eachAlgorithm() {
		if r.active(algorithm) == r.standby(algorithm) {
			t.Errorf("one key is both for %s", algorithm)
		}
	}
	if r.made != 6 {
		t.Errorf("%d keys were made", r.made)
	}
	if want := r.in.Now.Add(r.in.Interval); r.next != want {
		t.Errorf("looks again at %s, want %s", r.next, want)
	}
}

func TestNothingIsDoneTwice(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	before, made := r.ring, r.made
	for range 100 {
		r.advance(time.Hour)
	}
	if !reflect.DeepEqual(before, r.ring) || r.made != made {
		t.Errorf("the keys were\n%+v\nand are\n%+v", before, r.ring)
	}
}

func TestTheRingThatWasGivenStaysAsItWas(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	before, text := r.ring, mustEncodeRing(t, r.ring)
	r.in.Revision, r.in.Revoked = 1, []string{r.active("RS256")}
	r.advanceUntilStable(time.Hour)
	if mustEncodeRing(t, before) != text {
		t.Error("advance changed the ring that it was called on")
	}
}

func TestKeysAreReplacedWhenTheIntervalIsOver(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	standbys := map[string]string{}
	for _, algorithm := range eachAlgorithm() {
		standbys[algorithm] = r.standby(algorithm)
	}
	before := r.ring
	if r.advance(r.in.Interval - time.Second); !reflect.DeepEqual(r.ring, before) {
		t.Fatal("replaced before the interval was over")
	}
	old := r.active("ES256")
	r.advance(time.Second)
	for algorithm, standby := range standbys {
		if got := r.active(algorithm); got != standby {
			t.Errorf("%s: %s is Active, want the standby %s", algorithm, got, standby)
		}
		if got := r.standby(algorithm); got == standby {
			t.Errorf("%s: no new standby", algorithm)
		}
	}
	if got := r.only("ES256", documents.KeyRetiring); got != old {
		t.Errorf("%s retires, want %s", got, old)
	}
}

func TestANewSigningKeyIsPublishedLongEnoughBeforeItSigns(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	standby, sealer := r.standby("ES256"), r.standby(sealing)
	r.in.Revision = 1 // the standby was made this second
	r.advance(0)
	if r.active(sealing) != sealer {
		t.Error("the sealing key waits, though verifiers do not know it")
	}
	for elapsed := time.Duration(0); elapsed < 2*metadata.MaxAge*time.Second; elapsed += time.Minute {
		if r.active("ES256") == standby {
			t.Fatalf("signs %s after it was published", elapsed)
		}
		r.advance(time.Minute)
	}
	if r.active("ES256") != standby {
		t.Errorf("does not sign %s after it was published", PublishedFor)
	}
}

func TestAKeyIsPublishedFromWhenAllReplicasHoldItNotFromWhenItWasMade(t *testing.T) {
	r := newRingTest(t)
	lacks := true
	r.in.IsHeld = func(string) bool { return !lacks }
	r.advanceUntilStable(0)
	standby := r.standby("ES256")
	r.in.Revision = 1
	r.advance(24 * time.Hour)
	lacks = false // its JWKS had no such key until now
	r.advance(time.Second)
	r.advance(PublishedFor - time.Second)
	if r.active("ES256") == standby {
		t.Error("signs while verifiers still have a JWKS without it")
	}
	if want := r.in.Now.Add(time.Second); r.next != want {
		t.Errorf("looks again at %s, want %s", r.next, want)
	}
	lacks = true // one that comes up without it, for a moment
	r.advance(time.Second)
	lacks = false
	r.advance(time.Second)
	r.advance(PublishedFor - time.Second)
	if r.active("ES256") == standby {
		t.Error("signs while verifiers have a JWKS from a replica that lacked it")
	}
	if r.advance(time.Second); r.active("ES256") != standby {
		t.Error("does not sign")
	}
}

func TestNoKeyIsUsedBeforeEveryLiveReplicaHoldsIt(t *testing.T) {
	for _, algorithm := range eachAlgorithm() {
		r := newRingTest(t)
		r.advanceUntilStable(0)
		standby := r.standby(algorithm)
		r.in.IsHeld = func(kid string) bool { return kid != standby }
		r.in.Revision = 1
		for range 48 {
			if r.advance(time.Hour); r.active(algorithm) == standby {
				t.Fatalf("%s: in use, though a replica lacks it", algorithm)
			}
		}
		r.in.IsHeld = r.ring.Has
		r.advance(time.Minute)
		if r.advance(PublishedFor); r.active(algorithm) != standby {
			t.Errorf("%s: not in use, though every replica holds it", algorithm)
		}
	}
}

func TestWithoutALiveReplicaNothingIsRotated(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	before := r.ring.Documents()
	r.in.HasReplicas, r.in.IsHeld, r.in.Revision = false, func(string) bool { return false }, 1
	for range 400 {
		r.advance(24 * time.Hour)
	}
	if !reflect.DeepEqual(r.ring.Documents(), before) {
		t.Errorf("the keys were\n%+v\nand are\n%+v", before, r.ring.Documents())
	}
}

func TestARetiringSigningKeyStaysUntilTheLastTokenThatItSignedHasExpired(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	r.in.TokenLifetime = 24 * time.Hour
	r.advance(time.Hour) // a token of a day may be signed
	r.in.TokenLifetime = time.Minute
	r.advance(time.Hour) // and a moment before the next line it may still be
	old := r.active("ES256")
	r.in.Revision = 1
	r.advance(time.Hour)
	if r.active("ES256") == old {
		t.Fatal("was not rotated")
	}
	if r.advance(24 * time.Hour); !r.ring.Has(old) {
		t.Error("gone while a token that it signed is valid")
	}
	if want := r.in.Now.Add(retireMargin); r.next != want {
		t.Errorf("looks again at %s, want %s", r.next, want)
	}
	if r.advance(retireMargin); r.ring.Has(old) {
		t.Error("stays forever")
	}
}

func TestAKeyStaysAsLongAsItsTokensThoughTheNextManagersClockIsFiveMinutesAhead(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	old := r.active("ES256")
	r.in.Revision = 1
	r.advance(time.Hour)
	if r.active("ES256") == old {
		t.Fatal("was not rotated")
	}
	r.in.Now = r.in.Now.Add(5 * time.Minute) // another manager leads
	if r.advance(r.in.TokenLifetime); !r.ring.Has(old) {
		t.Error("gone while a token that it signed is valid")
	}
}

func TestARetiringSealingKeyStaysForTheLongestRefreshTokenOrSession(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	old := r.active(sealing)
	r.in.Revision = 1
	r.advance(time.Hour)
	if got := r.only(sealing, documents.KeyRetiring); got != old {
		t.Fatalf("%s retires, want %s", got, old)
	}
	if r.advance(r.in.SealedLifetime); !r.ring.Has(old) {
		t.Error("gone while a refresh token that it sealed is valid")
	}
	if r.advance(retireMargin); r.ring.Has(old) {
		t.Error("stays forever")
	}
}

func TestASealingKeyStaysLongerWhenSessionsAreMadeLonger(t *testing.T) {
	r := newRingTest(t)
	r.in.SealedLifetime = time.Hour
	r.advanceUntilStable(0)
	old := r.active(sealing)
	r.in.Revision = 1
	r.advance(time.Hour)
	r.in.SealedLifetime = 48 * time.Hour // sessions that began before live by it too
	if r.advance(time.Minute); !r.ring.Has(old) {
		t.Fatal("gone at once")
	}
	if r.advance(48*time.Hour - time.Minute); !r.ring.Has(old) {
		t.Error("gone while a session that it sealed is valid")
	}
}

func TestAKeyThatTokenServersStillUseStaysThoughTheRingSaysThatItRetires(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	old, served := r.active("ES256"), r.in.Served
	r.in.Revision = 1
	r.advance(time.Hour)
	// The ring was written and the document was not, so token servers have signed with the old key
	// for a day.
	r.in.Served = served
	r.in.Now = r.in.Now.Add(24 * time.Hour)
	r.advance(0)
	for range 5 {
		if r.advance(time.Minute); !r.ring.Has(old) {
			t.Fatal("gone while a token that it signed is valid")
		}
	}
	if r.advance(retireMargin); r.ring.Has(old) {
		t.Error("stays forever")
	}
}

func TestRevokingAKeyPromotesTheStandbyAtOnceAndRemovesTheKey(t *testing.T) {
	for _, algorithm := range eachAlgorithm() {
		for name, live := range map[string]bool{"live replicas": true, "none": false} {
			r := newRingTest(t)
			r.advanceUntilStable(0)
			revoked, standby := r.active(algorithm), r.standby(algorithm)
			if !live {
				r.in.HasReplicas, r.in.IsHeld = false, func(string) bool { return false }
			}
			r.in.Revoked = []string{revoked}
			r.advance(time.Second) // verifiers may not know the standby; they look it up
			if r.ring.Has(revoked) {
				t.Errorf("%s, %s: the revoked key is still there", algorithm, name)
			}
			if r.active(algorithm) != standby || r.standby(algorithm) == standby {
				t.Errorf("%s, %s: %s is Active, %s is the standby", algorithm, name, r.active(algorithm), r.standby(algorithm))
			}
			if len(r.kids(algorithm, documents.KeyRetiring)) > 0 {
				t.Errorf("%s, %s: it retires", algorithm, name)
			}
		}
	}
}

func TestRevokingTheStandbyMakesAnother(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	active, standby := r.active("ES256"), r.standby("ES256")
	r.in.Revoked = []string{standby}
	r.advance(time.Second)
	if r.active("ES256") != active || r.standby("ES256") == standby || r.ring.Has(standby) {
		t.Errorf("%+v", r.ring.Keys)
	}
}

func TestRevokingAllKeysWaitsForTheReplicasToHoldNewOnes(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	for _, k := range r.ring.Keys {
		r.in.Revoked = append(r.in.Revoked, k.KID)
	}
	lacks := true
	r.in.IsHeld = func(string) bool { return !lacks }
	r.advance(time.Second)
	for _, algorithm := range eachAlgorithm() {
		if kids := r.kids(algorithm, documents.KeyActive); len(kids) > 0 {
			t.Errorf("%s: %q is in use, which no replica holds", algorithm, kids)
		}
	}
	lacks = false
	r.advance(time.Second)
	for _, algorithm := range eachAlgorithm() {
		if slices.Contains(r.in.Revoked, r.active(algorithm)) || r.standby(algorithm) == "" {
			t.Errorf("%s: %+v", algorithm, r.ring.Keys)
		}
	}
}

func TestRaisingTheRevisionRotatesOnceAndLoweringDoesNothing(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	rotated := func(after time.Duration) bool {
		before := r.active("RS256")
		r.advanceUntilStable(after)
		return r.active("RS256") != before
	}
	r.in.Revision = 5
	if !rotated(time.Hour) {
		t.Error("raised: not rotated")
	}
	if rotated(time.Hour) {
		t.Error("rotated again")
	}
	r.in.Revision = 3
	if rotated(time.Hour) {
		t.Error("lowered: rotated")
	}
	r.in.Interval = time.Hour
	if !rotated(time.Hour) {
		t.Error("the interval is over: not rotated")
	}
	r.in.Interval, r.in.Revision = 2160*time.Hour, 5
	if rotated(time.Hour) {
		t.Error("raised to what it was: rotated, though the key is newer than that revision")
	}
	r.in.Revision = 6
	if !rotated(time.Hour) {
		t.Error("raised further: not rotated")
	}
}

func TestANewAlgorithmIsPublishedBeforeItIsUsed(t *testing.T) {
	r := newRingTest(t)
	r.in.Algorithms = []string{"RS256"}
	r.advanceUntilStable(0)
	if len(r.kids("ES256", documents.KeyPublished)) > 0 {
		t.Fatal("a key of an algorithm that is not listed")
	}
	rs := r.active("RS256")
	r.in.Algorithms = []string{"ES256", "RS256"}
	r.advanceUntilStable(time.Hour)
	published := r.standby("ES256")
	r.advance(PublishedFor - time.Second)
	if kids := r.kids("ES256", documents.KeyActive); len(kids) > 0 {
		t.Fatalf("%q is Active before verifiers know it", kids)
	}
	r.advance(time.Second)
	if r.active("ES256") != published || r.standby("ES256") == published || r.active("RS256") != rs {
		t.Errorf("%+v", r.ring.Keys)
	}
}

func TestAnAlgorithmThatIsWantedNoMoreRetires(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	old, standby := r.active("ES256"), r.standby("ES256")
	r.in.Algorithms = []string{"RS256"}
	r.advance(time.Hour)
	if r.only("ES256", documents.KeyRetiring) != old || r.ring.Has(standby) {
		t.Errorf("%+v", r.ring.Keys)
	}
	r.advance(r.in.TokenLifetime + retireMargin)
	if r.ring.Has(old) {
		t.Error("stays forever")
	}
	r.in.Algorithms = []string{"ES256", "RS256"}
	r.advanceUntilStable(time.Hour)
	if kids := r.kids("ES256", documents.KeyActive); len(kids) > 0 {
		t.Errorf("wanted again: %q is Active before verifiers know it", kids)
	}
}

func TestKeysAreTakenUpByAServerThatIsCreatedAgain(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	before := r.ring.Documents()
	r.in.Served = nil // a new server: no document yet
	r.in.HasReplicas, r.in.IsHeld = false, func(string) bool { return false }
	if r.advance(time.Hour); !reflect.DeepEqual(r.ring.Documents(), before) {
		t.Errorf("the keys were\n%+v\nand are\n%+v", before, r.ring.Documents())
	}
}

func TestARevisionThatIsRaisedInALoopFillsNoSecretAndStopsNoSigningKey(t *testing.T) {
	r := newRingTest(t)
	r.in.SealedLifetime = 8760 * time.Hour
	r.advanceUntilStable(0)
	signing := map[string]bool{}
	for range 200 {
		r.in.Revision++
		r.advanceUntilStable(time.Hour)
		signing[r.active("ES256")] = true
		if n := len(r.kids(sealing, documents.KeyRetiring)); n > 16 {
			t.Fatalf("%d sealing keys retire", n)
		}
	}
	if len(r.ring.Keys) > 26 {
		t.Errorf("%d keys", len(r.ring.Keys))
	}
	if len(signing) != 200 {
		t.Errorf("of 200 rotations %d replaced the signing key", len(signing))
	}
	old := r.active(sealing)
	pending := r.ring.PendingRotations(r.in)
	if len(pending) != 1 || pending[0].Algorithm != sealing || !pending[0].At.After(r.in.Now) {
		t.Fatalf("pending are %+v", pending)
	}
	if r.advanceUntilStable(pending[0].At.Sub(r.in.Now) - time.Second); r.active(sealing) != old {
		t.Error("goes on while there is no room")
	}
	if r.advanceUntilStable(time.Second); r.active(sealing) == old {
		t.Error("does not go on when it said that it would")
	}
}

func TestAShortIntervalLeavesRoomForSealingKeysThatAreAskedFor(t *testing.T) {
	r := newRingTest(t)
	r.in.Interval, r.in.SealedLifetime = time.Hour, 2160*time.Hour
	r.advanceUntilStable(0)
	signing := r.active("ES256")
	for range 24 * 100 {
		r.advanceUntilStable(time.Hour)
	}
	if n := len(r.kids(sealing, documents.KeyRetiring)); n > 9 || n == 0 {
		t.Errorf("%d sealing keys retire", n)
	}
	if r.active("ES256") == signing {
		t.Error("signing keys are not replaced")
	}
	old := r.active(sealing)
	r.in.Revision++
	if r.advanceUntilStable(time.Second); r.active(sealing) == old {
		t.Error("what is asked for waits")
	}
}

func TestARotationThatIsPendingSaysForWhatItWaitsAndUntilWhen(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	if pending := r.ring.PendingRotations(r.in); len(pending) > 0 {
		t.Errorf("nothing is asked for, and pending are %+v", pending)
	}
	r.in.Revision = 1
	r.advanceUntilStable(time.Minute)
	want := map[string]string{"ES256": r.standby("ES256"), "RS256": r.standby("RS256")}
	pending := r.ring.PendingRotations(r.in)
	for _, k := range pending {
		if k.KID != want[k.Algorithm] || !k.At.Equal(r.in.Now.Add(PublishedFor-time.Minute)) || !strings.Contains(k.Waits, "verifiers") {
			t.Errorf("%+v", k)
		}
	}
	if len(pending) != len(want) {
		t.Errorf("pending are %+v, want %v", pending, want)
	}
	r.in.IsHeld = func(string) bool { return false }
	r.advanceUntilStable(time.Minute)
	if pending := r.ring.PendingRotations(r.in); len(pending) != 2 || !pending[0].At.IsZero() || !strings.Contains(pending[0].Waits, "token server") {
		t.Errorf("a replica lacks it, and pending are %+v", pending)
	}
	r.in.IsHeld = r.ring.Has
	r.advanceUntilStable(time.Minute)
	if r.advanceUntilStable(PublishedFor); len(r.ring.PendingRotations(r.in)) > 0 {
		t.Errorf("rotated, and pending are %+v", r.ring.PendingRotations(r.in))
	}
}

func TestNothingChangesWhenAKeyCannotBeMade(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	broken := errors.New("no randomness")
	r.in.Revision = 1
	r.in.Now = r.in.Now.Add(time.Hour)
	next, _, err := r.ring.Advance(r.in, func(string) (string, error) { return "", broken })
	if !errors.Is(err, broken) || !reflect.DeepEqual(next, r.ring) {
		t.Errorf("%+v, %v", next, err)
	}
}

func mustEncodeRing(t *testing.T, ring Ring) string {
	t.Helper()
	text, err := json.Marshal(ring)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
