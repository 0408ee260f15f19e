package registry

import (
	"cmp"
	"slices"
)

// KeySet is where the public keys of a client are.
type KeySet struct{ ClientUID, URI string }

// KeySets returns where the keys of the clients are that may be served now and publish them, by the
// UID of the client.
func (r *Registry) KeySets() []KeySet {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var sets []KeySet
	for _, record := range r.clients {
		if record.document.JWKSURI == "" {
			continue
		}
		if c, ok := r.evaluate(record); ok {
			sets = append(sets, KeySet{c.UID, c.JWKSURI})
		}
	}
	slices.SortFunc(sets, func(a, b KeySet) int { return cmp.Compare(a.ClientUID, b.ClientUID) })
	return sets
}
