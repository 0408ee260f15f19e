package registry

import (
	"cmp"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// KeySet is where the public keys of a client are, or were before its method was changed.
type KeySet struct{ ClientUID, URI string }

// KeySets returns where the keys of the clients are that may be served now and publish them, by the
// UID of the client.
func (r *Registry) KeySets() []KeySet {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var sets []KeySet
	for _, record := range r.keySets {
		c, ok := r.evaluate(record)
		if !ok {
			continue
		}
		if c, ok := c.WithAuthMethod(oauth.AuthMethodPrivateKey); ok && c.JWKSURI != "" {
			sets = append(sets, KeySet{c.UID, c.JWKSURI})
		}
	}
	slices.SortFunc(sets, func(a, b KeySet) int { return cmp.Compare(a.ClientUID, b.ClientUID) })
	return sets
}
