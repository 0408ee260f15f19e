package keyring

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/metadata"
)

// yearSeeds make the years the same in every run. Raise the number to search elsewhere.
const yearSeeds = 40

// The test simulates a year: replicas start and stop, files and documents reach them late, the
// manager stops, fails between two writes and starts again, and the server's owner changes
// lifetimes, algorithms, intervals and revisions and revokes keys. After each step, every replica,
// and every verifier whose JWKS has not expired, can verify and open all that was signed or sealed
// and has not expired.
func TestAYearOfKeysHoldsWhatItPromises(t *testing.T) {
	for seed := range uint64(yearSeeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			y := newYear(t, seed)
			for end := y.now.Add(365 * 24 * time.Hour); y.now.Before(end) && !t.Failed(); {
				y.step()
			}
			if y.rotations < 10 {
				t.Errorf("only %d rotations: the year was too quiet to prove anything", y.rotations)
			}
		})
	}
}

// propagation is how long files and documents take to reach a replica, at most.
const propagation = 50 * time.Second

type year struct {
	t      *testing.T
	random *rand.Rand
	now    time.Time
	made   int

	ring     Ring            // the Secret
	document []documents.Key // the Entry
	written  time.Time       // when it was written
	in       Input
	away     time.Time // until when the manager does not run

	replicas  []*yearReplica
	rotations int
	emergency map[string]bool // keys that became Active since another was revoked, or as the first
	inUse     map[string]time.Time
}

// yearReplica is one token server.
type yearReplica struct {
	files    map[string]bool
	document []documents.Key
	cached   map[string]time.Time // when a verifier may last have got a JWKS from it that lacks a key
}

func newYear(t *testing.T, seed uint64) *year {
	y := &year{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		emergency: map[string]bool{}, inUse: map[string]time.Time{},
	}
	y.in = Input{Algorithms: []string{"ES256", "RS256"}, Interval: 720 * time.Hour, TokenLifetime: 5 * time.Minute, SealedLifetime: 48 * time.Hour}
	y.reconcile()
	y.start()
	return y
}

// step simulates some time and one event.
func (y *year) step() {
	y.pass(time.Duration(y.random.Int64N(int64(y.pause()))).Truncate(time.Second) + time.Second)
	switch y.random.IntN(30) {
	case 0:
		y.start()
	case 1:
		y.replicas = y.replicas[min(1, len(y.replicas)):]
	case 2:
		y.in.Revision += int64(y.random.IntN(3)) - 1
		y.in.Revision = max(y.in.Revision, 0)
	case 3:
		y.in.Interval = time.Duration(1+y.random.IntN(2000)) * time.Hour
	case 4:
		y.in.TokenLifetime = time.Duration(1+y.random.IntN(24*3600)) * time.Second
	case 5:
		y.in.SealedLifetime = 30*time.Minute + time.Duration(y.random.IntN(100*3600))*time.Second
	case 6:
		y.in.Algorithms = [][]string{{"RS256"}, {"ES256", "RS256"}, {"RS256", "ES256"}}[y.random.IntN(3)]
	case 7:
		y.revoke()
	case 8:
		y.away = y.now.Add(time.Duration(y.random.IntN(72*3600)) * time.Second)
	}
	y.reconcile()
}

// pause returns the longest time until the next event: often minutes, sometimes days.
func (y *year) pause() time.Duration {
	return []time.Duration{time.Minute, 20 * time.Minute, 6 * time.Hour, 72 * time.Hour}[y.random.IntN(4)]
}

// pass moves the clock, in two parts if it is long, so that replicas that read late have read.
func (y *year) pass(d time.Duration) {
	y.use()
	y.now = y.now.Add(min(d, propagation))
	y.see()
	y.use()
	if d > propagation {
		y.now = y.now.Add(d - propagation)
		y.see()
		y.use()
	}
}

// see has the replicas read files and documents: some at once, all after the propagation time.
func (y *year) see() {
	for _, r := range y.replicas {
		if y.now.Sub(y.written) >= propagation || y.random.IntN(2) == 0 {
			r.document = y.document
		}
		for _, k := range y.ring.Keys {
			if y.now.Sub(k.Since) >= propagation && y.random.IntN(4) > 0 || y.random.IntN(3) == 0 {
				r.files[k.KID] = true
			}
		}
	}
}

// start starts another replica, which has read all that exists. At most four run.
func (y *year) start() {
	r := &yearReplica{files: map[string]bool{}, document: y.document, cached: map[string]time.Time{}}
	for _, k := range y.ring.Keys {
		r.files[k.KID] = true
	}
	y.replicas = append(y.replicas, r)
	if len(y.replicas) > 4 {
		y.replicas = y.replicas[1:]
	}
}

func (y *year) revoke() {
	if len(y.ring.Keys) == 0 || len(y.in.Revoked) > 60 {
		return
	}
	y.in.Revoked = append(slices.Clone(y.in.Revoked), y.ring.Keys[y.random.IntN(len(y.ring.Keys))].KID)
	y.away = time.Time{} // or nothing would come of it
}

// use has each ready replica sign and seal with the keys that it reads as Active, and verifiers
// fetch its JWKS.
func (y *year) use() {
	for _, r := range y.replicas {
		if !y.ready(r) {
			continue
		}
		for _, k := range y.ring.Keys {
			if !y.verifies(r, k.KID) {
				r.cached[k.KID] = y.now
			}
		}
		for _, k := range r.document {
			if k.Phase != documents.KeyActive || !r.files[k.KID] || slices.Contains(y.in.Revoked, k.KID) {
				continue
			}
			lifetime := y.in.TokenLifetime
			if k.Algorithm == documents.AlgorithmSealing {
				lifetime = y.in.SealedLifetime
			}
			if until := y.now.Add(lifetime); until.After(y.inUse[k.KID]) {
				y.inUse[k.KID] = until
			}
			y.expectReadable(k)
		}
	}
	y.expectKept()
}

// ready reports whether a replica is ready: it holds every Active key.
func (y *year) ready(r *yearReplica) bool {
	return !slices.ContainsFunc(r.document, func(k documents.Key) bool {
		return k.Phase == documents.KeyActive && !slices.Contains(y.in.Revoked, k.KID) && !r.files[k.KID]
	})
}

func (y *year) verifies(r *yearReplica, kid string) bool {
	return r.files[kid] && slices.ContainsFunc(r.document, func(k documents.Key) bool { return k.KID == kid })
}

// expectReadable checks that every replica and verifier can read what is made with a key now. After
// a revocation, verifiers may have to fetch the JWKS again.
func (y *year) expectReadable(k documents.Key) {
	y.t.Helper()
	for i, r := range y.replicas {
		if !y.verifies(r, k.KID) {
			y.t.Errorf("%s: %s is used, and replica %d lacks it", y.now, k.KID, i)
		}
		lacked, ever := r.cached[k.KID]
		if k.Algorithm != documents.AlgorithmSealing && !y.emergency[k.KID] && ever && y.now.Sub(lacked) < metadata.MaxAge*time.Second {
			y.t.Errorf("%s: %s signs, and replica %d had a JWKS without it %s ago", y.now, k.KID, i, y.now.Sub(lacked))
		}
	}
}

// expectKept checks that the keys exist of all that was made and has not expired.
func (y *year) expectKept() {
	y.t.Helper()
	for kid, until := range y.inUse {
		if until.After(y.now) && !y.ring.Has(kid) && !slices.Contains(y.in.Revoked, kid) {
			y.t.Errorf("%s: %s is gone, and what was made with it is valid until %s", y.now, kid, until)
		}
	}
}

// reconcile does what the manager does: it reads which keys replicas hold, and writes the Secret
// and then the document, unless that fails.
func (y *year) reconcile() {
	if y.now.Before(y.away) {
		return
	}
	in := y.in
	in.Now, in.Served, in.HasReplicas = y.now, y.document, len(y.replicas) > 0
	in.IsHeld = func(kid string) bool {
		return in.HasReplicas && !slices.ContainsFunc(y.replicas, func(r *yearReplica) bool { return !r.files[kid] })
	}
	generate := func(algorithm string) (string, error) {
		y.made++
		return fmt.Sprintf("%s-%d", algorithm, y.made), nil
	}
	next, at, err := y.ring.Advance(in, generate)
	if err != nil {
		y.t.Fatal(err)
	}
	y.expectStep(in, next)
	if !at.IsZero() && at.Before(y.now) {
		y.t.Errorf("looks again at %s, which is over", at)
	}
	y.ring = next
	if y.random.IntN(20) == 0 {
		return // the document could not be written; it is tried again at the next step
	}
	if !reflect.DeepEqual(y.document, next.Documents()) {
		y.document, y.written = next.Documents(), y.now
	}
	y.expectQuiet(in, at)
}

// expectStep checks what one call of Advance has changed.
func (y *year) expectStep(in Input, next Ring) {
	y.t.Helper()
	if !next.isValid() || len(next.Keys) > 64 {
		y.t.Errorf("%s: not a valid ring of at most 64 keys: %+v", y.now, next.Keys)
	}
	for _, k := range next.Keys {
		if slices.Contains(in.Revoked, k.KID) {
			y.t.Errorf("%s: %s is revoked and still there", y.now, k.KID)
		}
	}
	for _, algorithm := range append(slices.Clone(in.Algorithms), documents.AlgorithmSealing) {
		if next.Find(algorithm, documents.KeyPublished) == nil {
			y.t.Errorf("%s: no standby for %s", y.now, algorithm)
		}
		before, after := y.ring.Find(algorithm, documents.KeyActive), next.Find(algorithm, documents.KeyActive)
		switch {
		case after == nil && slices.Contains(next.Started, algorithm) && (!in.HasReplicas || in.IsHeld(next.Find(algorithm, documents.KeyPublished).KID)):
			y.t.Errorf("%s: no Active key for %s, for no reason", y.now, algorithm)
		case after == nil || before != nil && before.KID == after.KID:
		case before == nil && !slices.Contains(y.ring.Started, algorithm) && len(y.ring.Keys) > 0:
			y.expectOrderly(in, algorithm, *after) // an algorithm that is new
		case before == nil || slices.Contains(in.Revoked, before.KID):
			y.emergency[after.KID] = true
			if in.HasReplicas && !in.IsHeld(after.KID) {
				y.t.Errorf("%s: %s is Active, which a live replica lacks", y.now, after.KID)
			}
		default:
			y.rotations++
			y.expectOrderly(in, algorithm, *after)
			if k := next.Keys[slices.IndexFunc(next.Keys, func(k Key) bool { return k.KID == before.KID })]; k.Phase != documents.KeyRetiring {
				y.t.Errorf("%s: %s was replaced and is %s", y.now, k.KID, k.Phase)
			}
		}
	}
}

// expectOrderly checks that a key that became Active in a rotation was published long enough, and
// that every live replica holds it.
func (y *year) expectOrderly(in Input, algorithm string, k Key) {
	y.t.Helper()
	i := slices.IndexFunc(y.ring.Keys, func(old Key) bool { return old.KID == k.KID })
	if i < 0 || y.ring.Keys[i].Phase != documents.KeyPublished || !in.IsHeld(k.KID) {
		y.t.Errorf("%s: %s became Active without being a standby that all live replicas hold", y.now, k.KID)
		return
	}
	if algorithm != documents.AlgorithmSealing && y.now.Sub(y.ring.Keys[i].Since) < PublishedFor {
		y.t.Errorf("%s: %s was published for %s only", y.now, k.KID, y.now.Sub(y.ring.Keys[i].Since))
	}
}

// expectQuiet checks that Advance has nothing to do a second time, nor before the time that it
// returned.
func (y *year) expectQuiet(in Input, at time.Time) {
	y.t.Helper()
	in.Served = y.document
	fail := func(string) (string, error) { y.t.Errorf("%s: a key is made a second time", y.now); return "x", nil }
	stable, _, _ := y.ring.Advance(in, fail)
	if !slices.Equal(stable.Documents(), y.ring.Documents()) {
		y.t.Errorf("%s: not stable:\n%+v\n%+v", y.now, y.ring.Keys, stable.Keys)
	}
	if !at.IsZero() && at.After(y.now.Add(time.Second)) {
		in.Now = at.Add(-time.Second)
		later, _, _ := stable.Advance(in, fail)
		if !slices.Equal(later.Documents(), stable.Documents()) {
			y.t.Errorf("%s: something was due before %s:\n%+v\n%+v", y.now, at, stable.Keys, later.Keys)
		}
	}
}
