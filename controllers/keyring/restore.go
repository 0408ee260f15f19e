package keyring

import (
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// Restore compares a stored ring with the keys that exist. It returns the stored ring, or one of
// the known keys if none is stored; and the keys that are lost: those of the ring, and the known
// ones, that do not exist and are not revoked.
//
// existing are the ids of the keys that exist; nil means all of the stored ring. known are the keys
// that the server's document or status lists. The error is ErrInvalid if no ring is stored, none of
// the keys is known and some exist: their ring may be in a backup, so they must not be replaced.
func Restore(stored Ring, existing []string, known []documents.Key, revoked []string, now time.Time) (ring Ring, lost []string, err error) {
	addLost := func(kid string) {
		if !slices.Contains(revoked, kid) && !slices.Contains(lost, kid) {
			lost = append(lost, kid)
		}
	}
	if len(stored.Keys) == 0 && len(stored.Started) == 0 {
		ring, err = rebuild(existing, known, revoked, now)
		for _, k := range known {
			if !ring.Has(k.KID) {
				addLost(k.KID)
			}
		}
		return ring, lost, err
	}
	for _, k := range stored.Keys {
		if existing != nil && !slices.Contains(existing, k.KID) {
			addLost(k.KID)
		}
	}
	for _, k := range known {
		// A key leaves the ring long after it was Active. If token servers read that it is Active,
		// the stored ring is an older one, from a backup.
		if k.Phase == documents.KeyActive && !stored.Has(k.KID) {
			addLost(k.KID)
		}
	}
	return stored, lost, nil
}

// rebuild returns a ring of the known keys that exist.
func rebuild(existing []string, known []documents.Key, revoked []string, now time.Time) (ring Ring, err error) {
	for _, k := range known {
		if !slices.Contains(existing, k.KID) || ring.Has(k.KID) {
			continue
		}
		ring.Keys = append(ring.Keys, Key{KID: k.KID, Algorithm: k.Algorithm, Phase: k.Phase, Since: now.UTC().Truncate(time.Second)})
		if k.Phase == documents.KeyActive && !slices.Contains(ring.Started, k.Algorithm) {
			ring.Started = append(ring.Started, k.Algorithm)
		}
	}
	for _, kid := range existing {
		if len(known) == 0 && !slices.Contains(revoked, kid) {
			return Ring{}, ErrInvalid
		}
	}
	return ring, nil
}
