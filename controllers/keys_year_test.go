package controllers

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

// For a year, simulated: replicas come and go, files and documents reach them late, the manager is away, fails between two writes and comes
// back, and the server's owner changes lifetimes, algorithms, intervals and revisions and revokes keys. After each step, whatever was signed or
// sealed and has not expired can be verified and opened by every replica, and by every verifier with a JWKS that is not too old.
func TestAYearOfKeysHoldsWhatItPromises(t *testing.T) {
	for seed := range uint64(yearSeeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			y := newKeyYear(t, seed)
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

type keyYear struct {
	t      *testing.T
	random *rand.Rand
	now    time.Time
	made   int

	ring     keyRing         // the Secret
	document []documents.Key // the Entry
	written  time.Time       // when it was written
	plan     keyPlan
	away     time.Time // until when the manager is away

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

func newKeyYear(t *testing.T, seed uint64) *keyYear {
	y := &keyYear{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		emergency: map[string]bool{}, inUse: map[string]time.Time{},
	}
	y.plan = keyPlan{algorithms: []string{"ES256", "RS256"}, interval: 720 * time.Hour, token: 5 * time.Minute, sealed: 48 * time.Hour}
	y.reconcile()
	y.start()
	return y
}

// step lets some time pass, and something happen.
func (y *keyYear) step() {
	y.pass(time.Duration(y.random.Int64N(int64(y.pause()))).Truncate(time.Second) + time.Second)
	switch y.random.IntN(30) {
	case 0:
		y.start()
	case 1:
		y.replicas = y.replicas[min(1, len(y.replicas)):]
	case 2:
		y.plan.revision += int64(y.random.IntN(3)) - 1
		y.plan.revision = max(y.plan.revision, 0)
	case 3:
		y.plan.interval = time.Duration(1+y.random.IntN(2000)) * time.Hour
	case 4:
		y.plan.token = time.Duration(1+y.random.IntN(24*3600)) * time.Second
	case 5:
		y.plan.sealed = 30*time.Minute + time.Duration(y.random.IntN(100*3600))*time.Second
	case 6:
		y.plan.algorithms = [][]string{{"RS256"}, {"ES256", "RS256"}, {"RS256", "ES256"}}[y.random.IntN(3)]
	case 7:
		y.revoke()
	case 8:
		y.away = y.now.Add(time.Duration(y.random.IntN(72*3600)) * time.Second)
	}
	y.reconcile()
}

// pause is how long nothing happens, at most: often minutes, sometimes days.
func (y *keyYear) pause() time.Duration {
	return []time.Duration{time.Minute, 20 * time.Minute, 6 * time.Hour, 72 * time.Hour}[y.random.IntN(4)]
}

// pass lets time pass in small pieces around what is due, as the manager is woken then: what replicas see, they see late.
func (y *keyYear) pass(d time.Duration) {
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

// see brings files and documents to the replicas: some at once, all when they have had the time.
func (y *keyYear) see() {
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

// start runs another replica, with what there is.
func (y *keyYear) start() {
	r := &yearReplica{files: map[string]bool{}, document: y.document, cached: map[string]time.Time{}}
	for _, k := range y.ring.Keys {
		r.files[k.KID] = true
	}
	y.replicas = append(y.replicas, r)
	if len(y.replicas) > 4 {
		y.replicas = y.replicas[1:]
	}
}

func (y *keyYear) revoke() {
	if len(y.ring.Keys) == 0 || len(y.plan.revoked) > 60 {
		return
	}
	y.plan.revoked = append(slices.Clone(y.plan.revoked), y.ring.Keys[y.random.IntN(len(y.ring.Keys))].KID)
	y.away = time.Time{} // or nothing would come of it
}

// use signs and seals with what each replica takes for Active, and has verifiers fetch its JWKS.
func (y *keyYear) use() {
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
			if k.Phase != documents.KeyActive || !r.files[k.KID] || slices.Contains(y.plan.revoked, k.KID) {
				continue
			}
			lifetime := y.plan.token
			if k.Algorithm == documents.AlgorithmSealing {
				lifetime = y.plan.sealed
			}
			if until := y.now.Add(lifetime); until.After(y.inUse[k.KID]) {
				y.inUse[k.KID] = until
			}
			y.expectReadable(k)
		}
	}
	y.expectKept()
}

// ready says what the token server says of itself: it holds every Active key.
func (y *keyYear) ready(r *yearReplica) bool {
	return !slices.ContainsFunc(r.document, func(k documents.Key) bool {
		return k.Phase == documents.KeyActive && !slices.Contains(y.plan.revoked, k.KID) && !r.files[k.KID]
	})
}

func (y *keyYear) verifies(r *yearReplica, kid string) bool {
	return r.files[kid] && slices.ContainsFunc(r.document, func(k documents.Key) bool { return k.KID == kid })
}

// expectReadable: what is made with a key now can be read by all, but where a revocation made haste necessary.
func (y *keyYear) expectReadable(k documents.Key) {
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

// expectKept: what was made and has not expired has its key.
func (y *keyYear) expectKept() {
	y.t.Helper()
	for kid, until := range y.inUse {
		if until.After(y.now) && !y.ring.has(kid) && !slices.Contains(y.plan.revoked, kid) {
			y.t.Errorf("%s: %s is gone, and what was made with it is valid until %s", y.now, kid, until)
		}
	}
}

// reconcile is the manager: it reads what replicas hold, writes the Secret, and then the document unless that fails.
func (y *keyYear) reconcile() {
	if y.now.Before(y.away) {
		return
	}
	p := y.plan
	p.now, p.served, p.live = y.now, y.document, len(y.replicas) > 0
	p.held = func(kid string) bool {
		return p.live && !slices.ContainsFunc(y.replicas, func(r *yearReplica) bool { return !r.files[kid] })
	}
	generate := func(algorithm string) (string, error) {
		y.made++
		return fmt.Sprintf("%s-%d", algorithm, y.made), nil
	}
	next, wake, err := y.ring.advance(p, generate)
	if err != nil {
		y.t.Fatal(err)
	}
	y.expectStep(p, next)
	if !wake.IsZero() && wake.Before(y.now) {
		y.t.Errorf("looks again at %s, which is over", wake)
	}
	y.ring = next
	if y.random.IntN(20) == 0 {
		return // the document could not be written; it is tried again at the next step
	}
	if !reflect.DeepEqual(y.document, next.documents()) {
		y.document, y.written = next.documents(), y.now
	}
	y.expectQuiet(p, wake)
}

// expectStep: what one step may make of the ring.
func (y *keyYear) expectStep(p keyPlan, next keyRing) {
	y.t.Helper()
	if !next.valid() || len(next.Keys) > 64 {
		y.t.Errorf("%s: not a valid ring of at most 64 keys: %+v", y.now, next.Keys)
	}
	for _, k := range next.Keys {
		if slices.Contains(p.revoked, k.KID) {
			y.t.Errorf("%s: %s is revoked and still there", y.now, k.KID)
		}
	}
	for _, algorithm := range append(slices.Clone(p.algorithms), documents.AlgorithmSealing) {
		if next.find(algorithm, documents.KeyPublished) == nil {
			y.t.Errorf("%s: no standby for %s", y.now, algorithm)
		}
		before, after := y.ring.find(algorithm, documents.KeyActive), next.find(algorithm, documents.KeyActive)
		switch {
		case after == nil && slices.Contains(next.Started, algorithm) && (!p.live || p.held(next.find(algorithm, documents.KeyPublished).KID)):
			y.t.Errorf("%s: no Active key for %s, for no reason", y.now, algorithm)
		case after == nil || before != nil && before.KID == after.KID:
		case before == nil && !slices.Contains(y.ring.Started, algorithm) && len(y.ring.Keys) > 0:
			y.expectOrderly(p, algorithm, *after) // an algorithm that is new
		case before == nil || slices.Contains(p.revoked, before.KID):
			y.emergency[after.KID] = true
			if p.live && !p.held(after.KID) {
				y.t.Errorf("%s: %s is Active, which a live replica lacks", y.now, after.KID)
			}
		default:
			y.rotations++
			y.expectOrderly(p, algorithm, *after)
			if k := next.Keys[slices.IndexFunc(next.Keys, func(k keyRecord) bool { return k.KID == before.KID })]; k.Phase != documents.KeyRetiring {
				y.t.Errorf("%s: %s was replaced and is %s", y.now, k.KID, k.Phase)
			}
		}
	}
}

// expectOrderly: a key that becomes Active without haste was published, long enough, and every live replica holds it.
func (y *keyYear) expectOrderly(p keyPlan, algorithm string, k keyRecord) {
	y.t.Helper()
	i := slices.IndexFunc(y.ring.Keys, func(old keyRecord) bool { return old.KID == k.KID })
	if i < 0 || y.ring.Keys[i].Phase != documents.KeyPublished || !p.held(k.KID) {
		y.t.Errorf("%s: %s became Active without being a standby that all live replicas hold", y.now, k.KID)
		return
	}
	if algorithm != documents.AlgorithmSealing && y.now.Sub(y.ring.Keys[i].Since) < publishedFor {
		y.t.Errorf("%s: %s was published for %s only", y.now, k.KID, y.now.Sub(y.ring.Keys[i].Since))
	}
}

// expectQuiet: nothing is to be done a second time, nor before the time that was named.
func (y *keyYear) expectQuiet(p keyPlan, wake time.Time) {
	y.t.Helper()
	p.served = y.document
	fail := func(string) (string, error) { y.t.Errorf("%s: a key is made a second time", y.now); return "x", nil }
	settled, _, _ := y.ring.advance(p, fail)
	if !slices.Equal(settled.documents(), y.ring.documents()) {
		y.t.Errorf("%s: not settled:\n%+v\n%+v", y.now, y.ring.Keys, settled.Keys)
	}
	if !wake.IsZero() && wake.After(y.now.Add(time.Second)) {
		p.now = wake.Add(-time.Second)
		later, _, _ := settled.advance(p, fail)
		if !slices.Equal(later.documents(), settled.documents()) {
			y.t.Errorf("%s: something was due before %s:\n%+v\n%+v", y.now, wake, settled.Keys, later.Keys)
		}
	}
}
