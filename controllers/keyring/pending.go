package keyring

import (
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// PendingRotation is a standby that is to become Active, and cannot yet.
type PendingRotation struct {
	KID, Algorithm string
	// At is when it becomes Active; zero: not known.
	At time.Time
	// Waits says what it waits for, as the end of the sentence "the key becomes Active".
	Waits string
}

const waitsForReplicas = "once every token server holds it, and one is running"

// PendingRotations returns the rotations that are requested or overdue.
func (ring Ring) PendingRotations(in Input) []PendingRotation {
	in.Now = in.Now.UTC().Truncate(time.Second)
	var list []PendingRotation
	for _, algorithm := range in.allAlgorithms() {
		standby := ring.Find(algorithm, documents.KeyPublished)
		if standby == nil {
			continue
		}
		if at, waits := ring.activationTime(algorithm, in); waits != "" {
			list = append(list, PendingRotation{KID: standby.KID, Algorithm: algorithm, At: at, Waits: waits})
		}
	}
	return list
}

// activationTime returns when the standby of an algorithm becomes Active; the zero time if that
// depends on more than the time. waits says what it waits for, if the rotation is requested or
// overdue.
func (ring *Ring) activationTime(algorithm string, in Input) (at time.Time, waits string) {
	active, standby := ring.Find(algorithm, documents.KeyActive), ring.Find(algorithm, documents.KeyPublished)
	switch {
	case active == nil && slices.Contains(ring.Started, algorithm):
		// The Active key was revoked. The standby becomes Active at once, unless a replica could
		// not read what the others make with it.
		if in.HasReplicas && !in.IsHeld(standby.KID) {
			return time.Time{}, waitsForReplicas
		}
		return in.Now, ""
	case active != nil && active.Revision >= in.Revision && active.Since.Add(in.intervalOf(algorithm)).After(in.Now):
		return active.Since.Add(in.intervalOf(algorithm)), ""
	}
	usable := standby.usableFrom()
	if usable.After(in.Now) {
		return usable, "when verifiers have had time to fetch it"
	}
	if usable.IsZero() || !in.IsHeld(standby.KID) {
		return time.Time{}, waitsForReplicas
	}
	if removal, full := ring.nextRemoval(algorithm); full {
		return removal, "when the oldest of the retiring keys is not needed any more"
	}
	return in.Now, ""
}

// nextRemoval returns when the next Retiring key of an algorithm is removed, and reports whether no
// other key can retire before.
func (ring *Ring) nextRemoval(algorithm string) (at time.Time, full bool) {
	retiring := 0
	for _, k := range ring.Keys {
		if k.Algorithm == algorithm && k.Phase == documents.KeyRetiring {
			retiring++
			at = earliest(at, k.Until)
		}
	}
	return at, retiring >= maxRetiring || len(ring.Keys) >= maxKeys
}
