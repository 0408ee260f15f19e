package registry

import (
	"fmt"
	"maps"

	"github.com/oauth-operator/oauth-operator/tokenserver/notbefore"
)

// NotBefore returns the tokensNotBefore of all documents. The caller must not change the maps.
func (r *Registry) NotBefore() notbefore.Times {
	if known := r.notBefore.Load(); known != nil {
		return *known
	}
	r.mu.RLock() // so that no document changes before the result is stored
	defer r.mu.RUnlock()
	times := r.limits
	times.Clients, times.Users, times.Providers = maps.Clone(r.limits.Clients), maps.Clone(r.limits.Users), maps.Clone(r.limits.Providers)
	r.notBefore.Store(&times)
	return times
}

// NotBeforeOf returns what is void now of what was issued to a client about a user of an identity
// provider. Each UID may be empty.
func (r *Registry) NotBeforeOf(clientUID, userUID, providerUID string) notbefore.Limits {
	return r.NotBefore().At(r.now(), clientUID, userUID, providerUID)
}

// CheckNotBefore returns an error that wraps ErrNotServing in the second of a tokensNotBefore, in
// which a login, or a token for a client about a user of an identity provider, would be void at once.
// Each UID may be empty.
func (r *Registry) CheckNotBefore(clientUID, userUID, providerUID string) error {
	if r.NotBeforeOf(clientUID, userUID, providerUID).VoidsToken(r.now()) {
		return fmt.Errorf("%w: tokensNotBefore voids what is issued in this second", ErrNotServing)
	}
	return nil
}

// setServerLimit, and setLimit for a client or a user, record the tokensNotBefore of a document;
// zero: it has none, or is gone. Most documents have none: their changes cost nothing here. The
// caller holds the lock.
func (r *Registry) setServerLimit(at int64) {
	if r.limits.Server != at {
		r.limits.Server = at
		r.notBefore.Store(nil)
	}
}

func (r *Registry) setLimit(limits map[string]int64, uid string, at int64) {
	if limits[uid] == at {
		return
	}
	if limits[uid] = at; at == 0 {
		delete(limits, uid)
	}
	r.notBefore.Store(nil)
}
