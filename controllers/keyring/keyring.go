// Package keyring decides which keys a token server has. A key is Published, so that every replica
// and every verifier can get it; then Active, so that the token server signs or seals with it; then
// Retiring, until what was made with it has expired; then it is removed. Each algorithm always has
// a Published key, the standby, which replaces an Active key that is revoked.
//
//	keyring.go   Ring and Advance, which computes the next ring and when it changes again
//	key.go       Key: when it can become Active, and how long it retires
//	pending.go   the rotations that are requested or overdue, and what they wait for
//	encoding.go  the ring as text, which the manager stores beside the keys
//	restore.go   which keys are lost, and a ring for keys whose ring is lost
//
// All functions are pure: the clock and the generator of keys are parameters.
package keyring

import (
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// maxRetiring is how many keys of one algorithm retire at a time. A rotation that would exceed it
// waits until the oldest is removed: a sealing key retires for months, and a revision that is
// raised in a loop must neither fill the Secret nor delay keys of another algorithm.
const maxRetiring = 16

// maxKeys is how many keys a server has, which its status and its Replicas can list: those of three
// algorithms, and the rest of algorithms that are no longer used.
const maxKeys = 60

// Ring is what is known of the keys of a server, without the keys themselves. The zero Ring is that
// of a new server.
type Ring struct {
	// Started are the algorithms that have had an Active key. The first keys of a ring without any
	// become Active at once.
	Started []string `json:"started,omitempty"`
	Keys    []Key    `json:"keys"`
}

// Input decides the next ring: the settings of the server, what is observed of its token servers,
// and the time.
type Input struct {
	Algorithms []string // for signing
	Revoked    []string // kids
	Interval   time.Duration
	Revision   int64
	// TokenLifetime and SealedLifetime are the longest that a token, and a sealed value, can have
	// with the present settings.
	TokenLifetime, SealedLifetime time.Duration

	// Served are the keys in the document that token servers read now.
	Served []documents.Key
	// HasReplicas reports that there are live replicas, IsHeld that there are and each of them has
	// read the key.
	HasReplicas bool
	IsHeld      func(kid string) bool

	Now time.Time
}

// Advance returns the next ring, and when Advance has something to do again if no input changes;
// the zero time means never. The ring itself does not change. generate makes a new key.
//
// The order matters: revoked keys are removed first, then standbys replace them, then there are new
// standbys.
func (ring Ring) Advance(in Input, generate func(algorithm string) (kid string, err error)) (next Ring, at time.Time, err error) {
	in.Now = in.Now.UTC().Truncate(time.Second)
	next = Ring{Started: slices.Clone(ring.Started), Keys: slices.Clone(ring.Keys)}
	isNew := len(ring.Keys) == 0 && len(ring.Started) == 0
	next.retireAndRemove(in)
	for _, algorithm := range in.allAlgorithms() {
		due, err := next.advanceAlgorithm(algorithm, isNew, in, generate)
		if err != nil {
			return ring, time.Time{}, err
		}
		at = earliest(at, due)
	}
	for _, k := range next.Keys {
		if k.Phase == documents.KeyRetiring {
			at = earliest(at, k.Until)
		}
	}
	return next, at, nil
}

// retireAndRemove retires the Active keys of algorithms that the settings no longer list, and
// removes keys that are revoked, keys that have expired, and standbys of such algorithms.
func (ring *Ring) retireAndRemove(in Input) {
	listed := in.allAlgorithms()
	for i := range ring.Keys {
		switch k := &ring.Keys[i]; {
		case k.Phase == documents.KeyActive && !slices.Contains(listed, k.Algorithm):
			k.retire(in)
		case k.Phase == documents.KeyRetiring && in.isServedAs(k.KID, documents.KeyActive):
			k.retire(in) // the document that says Retiring is not written yet, so the key is in use
		case k.Phase == documents.KeyRetiring:
			k.extendUntil(in)
		}
	}
	ring.Keys = slices.DeleteFunc(ring.Keys, func(k Key) bool {
		return slices.Contains(in.Revoked, k.KID) ||
			k.Phase == documents.KeyRetiring && !k.Until.After(in.Now) ||
			k.Phase == documents.KeyPublished && !slices.Contains(listed, k.Algorithm)
	})
	ring.Started = slices.DeleteFunc(ring.Started, func(algorithm string) bool { return !slices.Contains(listed, algorithm) })
}

// advanceAlgorithm does what is due for the keys of one algorithm, and returns when it has
// something to do again; the zero time means not before an input changes.
func (ring *Ring) advanceAlgorithm(algorithm string, isNew bool, in Input, generate func(string) (string, error)) (time.Time, error) {
	if ring.Find(algorithm, documents.KeyPublished) == nil {
		if err := ring.addStandby(algorithm, in, generate); err != nil {
			return time.Time{}, err
		}
	}
	active, standby := ring.Find(algorithm, documents.KeyActive), ring.Find(algorithm, documents.KeyPublished)
	standby.updateHeld(in)
	if active != nil {
		active.Lifetime = max(active.Lifetime, in.lifetimeOf(algorithm))
	}
	if !isNew { // a new server has issued no token, and no verifier has cached its JWKS
		if due, _ := ring.activationTime(algorithm, in); due.IsZero() || due.After(in.Now) {
			return due, nil
		}
	}
	if active != nil {
		active.retire(in)
	}
	ring.activate(standby, in)
	return in.Now.Add(in.intervalOf(algorithm)), ring.addStandby(algorithm, in, generate)
}

// addStandby adds a new Published key.
func (ring *Ring) addStandby(algorithm string, in Input, generate func(string) (string, error)) error {
	kid, err := generate(algorithm)
	if err != nil {
		return err
	}
	ring.Keys = append(ring.Keys, Key{KID: kid, Algorithm: algorithm, Phase: documents.KeyPublished, Since: in.Now})
	return nil
}

// activate makes a standby Active.
func (ring *Ring) activate(k *Key, in Input) {
	k.Phase, k.Since, k.Held = documents.KeyActive, in.Now, time.Time{}
	k.Revision, k.Lifetime = in.Revision, in.lifetimeOf(k.Algorithm)
	for _, other := range ring.Keys {
		k.Revision = max(k.Revision, other.Revision) // raising a lowered revision to what it was rotates nothing
	}
	if !slices.Contains(ring.Started, k.Algorithm) {
		ring.Started = append(ring.Started, k.Algorithm)
	}
}

// Find returns the oldest key of an algorithm in a phase, or nil if there is none.
func (ring *Ring) Find(algorithm, phase string) *Key {
	for i := range ring.Keys {
		if k := &ring.Keys[i]; k.Algorithm == algorithm && k.Phase == phase {
			return k
		}
	}
	return nil
}

// Has reports whether the ring has a key.
func (ring Ring) Has(kid string) bool {
	return slices.ContainsFunc(ring.Keys, func(k Key) bool { return k.KID == kid })
}

// Documents returns the keys as the server's document lists them.
func (ring Ring) Documents() []documents.Key {
	var list []documents.Key
	for _, k := range ring.Keys {
		list = append(list, documents.Key{KID: k.KID, Algorithm: k.Algorithm, Phase: k.Phase})
	}
	return list
}

// allAlgorithms returns the algorithms of all keys: those for signing, and the one for sealing.
func (in Input) allAlgorithms() []string {
	return append(slices.Clone(in.Algorithms), documents.AlgorithmSealing)
}

// isServedAs reports whether token servers read that a key is in a phase.
func (in Input) isServedAs(kid, phase string) bool {
	return slices.ContainsFunc(in.Served, func(k documents.Key) bool { return k.KID == kid && k.Phase == phase })
}

// intervalOf returns the time between two rotations of an algorithm's keys. Sealing keys retire for
// long: with a short interval they are rotated less often, so that requested rotations do not have
// to wait until one is removed.
func (in Input) intervalOf(algorithm string) time.Duration {
	if algorithm == documents.AlgorithmSealing {
		return max(in.Interval, 2*in.SealedLifetime/maxRetiring)
	}
	return in.Interval
}

// lifetimeOf returns the longest lifetime of what a key of an algorithm makes.
func (in Input) lifetimeOf(algorithm string) documents.Seconds {
	longest := in.TokenLifetime
	if algorithm == documents.AlgorithmSealing {
		longest = in.SealedLifetime
	}
	return documents.Seconds(longest / time.Second)
}

// earliest returns the earlier of two times, of which the zero time means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
