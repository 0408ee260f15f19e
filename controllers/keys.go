package controllers

import (
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// publishedFor is how long a signing key is in the JWKS before it signs: twice the max-age with
// which verifiers may cache it, 300 s.
const publishedFor = 10 * time.Minute

// retireMargin is how much longer a key is kept than what was made with it lives: token servers
// learn a little later that it retires, and the manager that removes it may run on another machine
// than the one that had it retire, with a clock five minutes ahead of that one's.
const retireMargin = 6 * time.Minute

// maxRetiring is how many keys of one algorithm retire at a time. A rotation that would exceed it
// waits until the oldest is gone: a sealing key stays for months, and a revision that is raised in
// a loop must not fill the Secret, nor keep the keys of another algorithm from being replaced.
const maxRetiring = 16

// maxKeys of one server, which status and Replicas can list: those of three algorithms, and what is
// left of algorithms that are used no more.
const maxKeys = 60

// keyRing is all that is remembered of a server's keys but the keys themselves: an annotation on
// their Secret.
type keyRing struct {
	// Started are the algorithms that have had an Active key. Only a ring without any makes its
	// first keys Active at once.
	Started []string    `json:"started,omitempty"`
	Keys    []keyRecord `json:"keys"`
}

// keyRecord is one key. Times are whole seconds in UTC.
type keyRecord struct {
	KID       string    `json:"kid"`
	Algorithm string    `json:"algorithm"`
	Phase     string    `json:"phase"`
	Since     time.Time `json:"since"`
	// Held is since when all live replicas hold a Published key: from then on it is in every JWKS
	// that a verifier can get.
	Held time.Time `json:"held,omitzero"`
	// Revision of spec.signing.rotation for which it became Active.
	Revision int64 `json:"revision,omitempty"`
	// Lifetime is the longest that something made with it can have.
	Lifetime documents.Seconds `json:"lifetime,omitempty"`
	// Until is when the last of that has expired; set when it retires.
	Until time.Time `json:"until,omitzero"`
}

// keyPlan is what the ring is to become, and what decides it.
type keyPlan struct {
	algorithms []string // for signing
	revoked    []string
	interval   time.Duration
	revision   int64
	// token and sealed are the longest lifetimes that may come about now.
	token, sealed time.Duration
	// served are the keys as token servers are told now.
	served []documents.Key
	// live says whether there are live replicas, held whether there are and all of them hold the
	// key.
	live bool
	held func(kid string) bool
	now  time.Time
}

// advance moves the ring towards the plan and says when something is due next. generate makes a new
// key. The order matters: what is revoked goes first, then standbys take its place, then new
// standbys are made.
func (ring keyRing) advance(p keyPlan, generate func(algorithm string) (kid string, err error)) (next keyRing, wake time.Time, err error) {
	p.now = p.now.UTC().Truncate(time.Second)
	next = keyRing{Started: slices.Clone(ring.Started), Keys: slices.Clone(ring.Keys)}
	first := len(ring.Keys) == 0 && len(ring.Started) == 0
	next.drop(p)
	for _, algorithm := range append(slices.Clone(p.algorithms), documents.AlgorithmSealing) {
		due, err := next.advanceOne(algorithm, first, p, generate)
		if err != nil {
			return ring, time.Time{}, err
		}
		wake = earliest(wake, due)
	}
	for _, k := range next.Keys {
		if k.Phase == documents.KeyRetiring {
			wake = earliest(wake, k.Until)
		}
	}
	return next, wake, nil
}

// drop removes keys that are revoked, whose time is over, or that wait for an algorithm that is
// wanted no more; an Active key of such an algorithm retires.
func (ring *keyRing) drop(p keyPlan) {
	wanted := append(slices.Clone(p.algorithms), documents.AlgorithmSealing)
	for i := range ring.Keys {
		switch k := &ring.Keys[i]; {
		case k.Phase == documents.KeyActive && !slices.Contains(wanted, k.Algorithm):
			k.retire(p)
		case k.Phase == documents.KeyRetiring && p.serves(k.KID, documents.KeyActive):
			k.retire(p) // the document that says so was never written, or is about to be: until then it is in use
		case k.Phase == documents.KeyRetiring:
			k.keep(p)
		}
	}
	ring.Keys = slices.DeleteFunc(ring.Keys, func(k keyRecord) bool {
		return slices.Contains(p.revoked, k.KID) ||
			k.Phase == documents.KeyRetiring && !k.Until.After(p.now) ||
			k.Phase == documents.KeyPublished && !slices.Contains(wanted, k.Algorithm)
	})
	ring.Started = slices.DeleteFunc(ring.Started, func(algorithm string) bool { return !slices.Contains(wanted, algorithm) })
}

// advanceOne does what is due for one algorithm and says when to look again; the zero time means
// not before something else changes.
func (ring *keyRing) advanceOne(algorithm string, first bool, p keyPlan, generate func(string) (string, error)) (time.Time, error) {
	if ring.find(algorithm, documents.KeyPublished) == nil {
		if err := ring.publish(algorithm, p, generate); err != nil {
			return time.Time{}, err
		}
	}
	active, standby := ring.find(algorithm, documents.KeyActive), ring.find(algorithm, documents.KeyPublished)
	standby.see(p)
	if active != nil {
		active.Lifetime = max(active.Lifetime, p.lifetime(algorithm))
	}
	if !first { // the very first keys: no token is out, no verifier has cached anything
		if due, _ := ring.due(algorithm, p); due.IsZero() || due.After(p.now) {
			return due, nil
		}
	}
	if active != nil {
		active.retire(p)
	}
	ring.promote(standby, p)
	return p.now.Add(p.intervalOf(algorithm)), ring.publish(algorithm, p, generate)
}

// due is when the standby of an algorithm becomes Active; the zero time if that depends on
// something else than time. Waits says for what it waits, where the rotation is asked for or
// overdue.
func (ring *keyRing) due(algorithm string, p keyPlan) (at time.Time, waits string) {
	active, standby := ring.find(algorithm, documents.KeyActive), ring.find(algorithm, documents.KeyPublished)
	switch {
	case active == nil && slices.Contains(ring.Started, algorithm):
		// The Active key was revoked. The standby follows at once, unless a replica could not read
		// what the others make with it.
		if p.live && !p.held(standby.KID) {
			return time.Time{}, waitsForReplicas
		}
		return p.now, ""
	case active != nil && active.Revision >= p.revision && active.Since.Add(p.intervalOf(algorithm)).After(p.now):
		return active.Since.Add(p.intervalOf(algorithm)), ""
	}
	usable := standby.usableAt()
	if usable.After(p.now) {
		return usable, "when verifiers have had time to fetch it"
	}
	if usable.IsZero() || !p.held(standby.KID) {
		return time.Time{}, waitsForReplicas // a replica that holds it is seen
	}
	if room, full := ring.roomAt(algorithm); full {
		return room, "when the oldest of the retiring keys is not needed any more"
	}
	return p.now, ""
}

const waitsForReplicas = "once every token server holds it, and one is running"

// roomAt is when another key of an algorithm may retire, if there is no room for it now.
func (ring *keyRing) roomAt(algorithm string) (at time.Time, full bool) {
	retiring := 0
	for _, k := range ring.Keys {
		if k.Algorithm == algorithm && k.Phase == documents.KeyRetiring {
			retiring++
			at = earliest(at, k.Until)
		}
	}
	return at, retiring >= maxRetiring || len(ring.Keys) >= maxKeys
}

// pendingKey is a standby that is to become Active, and does not yet.
type pendingKey struct {
	kid, algorithm string
	at             time.Time // zero: not known
	waits          string
}

// pending are the rotations that are asked for or overdue.
func (ring keyRing) pending(p keyPlan) []pendingKey {
	p.now = p.now.UTC().Truncate(time.Second)
	var list []pendingKey
	for _, algorithm := range append(slices.Clone(p.algorithms), documents.AlgorithmSealing) {
		standby := ring.find(algorithm, documents.KeyPublished)
		if standby == nil {
			continue
		}
		if at, waits := ring.due(algorithm, p); waits != "" {
			list = append(list, pendingKey{standby.KID, algorithm, at, waits})
		}
	}
	return list
}

// intervalOf the rotation of an algorithm's keys. Sealing keys retire for long: with a short
// interval they are replaced less often, so that there is room left for rotations that are asked
// for.
func (p keyPlan) intervalOf(algorithm string) time.Duration {
	if algorithm == documents.AlgorithmSealing {
		return max(p.interval, 2*p.sealed/maxRetiring)
	}
	return p.interval
}

// find is the oldest key of an algorithm in a phase.
func (ring *keyRing) find(algorithm, phase string) *keyRecord {
	for i := range ring.Keys {
		if k := &ring.Keys[i]; k.Algorithm == algorithm && k.Phase == phase {
			return k
		}
	}
	return nil
}

func (ring *keyRing) publish(algorithm string, p keyPlan, generate func(string) (string, error)) error {
	kid, err := generate(algorithm)
	if err != nil {
		return err
	}
	ring.Keys = append(ring.Keys, keyRecord{KID: kid, Algorithm: algorithm, Phase: documents.KeyPublished, Since: p.now})
	return nil
}

func (ring *keyRing) promote(k *keyRecord, p keyPlan) {
	k.Phase, k.Since, k.Held = documents.KeyActive, p.now, time.Time{}
	k.Revision, k.Lifetime = p.revision, p.lifetime(k.Algorithm)
	for _, other := range ring.Keys {
		k.Revision = max(k.Revision, other.Revision) // a revision that was lowered meanwhile is no reason to rotate again
	}
	if !slices.Contains(ring.Started, k.Algorithm) {
		ring.Started = append(ring.Started, k.Algorithm)
	}
}

// see notes since when all live replicas hold a Published key. One that lacks it answers with a
// JWKS without it, so then the time starts anew.
func (k *keyRecord) see(p keyPlan) {
	switch {
	case p.live && !p.held(k.KID):
		k.Held = time.Time{}
	case p.live && k.Held.IsZero():
		k.Held = p.now
	}
}

// usableAt is from when a Published key may be Active; the zero time if not all replicas hold it.
// Sealing keys are known to the replicas alone.
func (k *keyRecord) usableAt() time.Time {
	if k.Held.IsZero() || k.Algorithm == documents.AlgorithmSealing {
		return k.Held
	}
	return k.Held.Add(publishedFor)
}

func (k *keyRecord) retire(p keyPlan) {
	k.Phase, k.Since = documents.KeyRetiring, p.now
	k.keep(p)
}

// keep has a Retiring key stay until the last of what was made with it has expired. Lifetimes that
// are raised meanwhile count: sessions that began before live by them too.
func (k *keyRecord) keep(p keyPlan) {
	k.Lifetime = max(k.Lifetime, p.lifetime(k.Algorithm))
	if until := k.Since.Add(k.Lifetime.Duration() + retireMargin); until.After(k.Until) {
		k.Until = until
	}
}

func (p keyPlan) lifetime(algorithm string) documents.Seconds {
	longest := p.token
	if algorithm == documents.AlgorithmSealing {
		longest = p.sealed
	}
	return documents.Seconds(longest / time.Second)
}

// serves says whether token servers are told that a key is in a phase.
func (p keyPlan) serves(kid, phase string) bool {
	return slices.ContainsFunc(p.served, func(k documents.Key) bool { return k.KID == kid && k.Phase == phase })
}

// documents are the keys as token servers are told.
func (ring keyRing) documents() []documents.Key {
	var list []documents.Key
	for _, k := range ring.Keys {
		list = append(list, documents.Key{KID: k.KID, Algorithm: k.Algorithm, Phase: k.Phase})
	}
	return list
}

func (ring keyRing) has(kid string) bool {
	return slices.ContainsFunc(ring.Keys, func(k keyRecord) bool { return k.KID == kid })
}

// valid says whether each key has a name of its own and a known phase, and each algorithm one
// Active key at most.
func (ring keyRing) valid() bool {
	kids, active := map[string]bool{}, map[string]bool{}
	for _, k := range ring.Keys {
		if k.KID == "" || k.Algorithm == "" || kids[k.KID] || k.Phase == documents.KeyActive && active[k.Algorithm] {
			return false
		}
		switch k.Phase {
		case documents.KeyActive:
			active[k.Algorithm] = true
		case documents.KeyPublished, documents.KeyRetiring:
		default:
			return false
		}
		kids[k.KID] = true
	}
	return true
}

// earliest of two times, of which the zero one means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
