package registry

import "github.com/oauth-operator/oauth-operator/tokenserver/notbefore"

// NotBefore returns the tokensNotBefore of all documents. The caller must not change the maps.
func (r *Registry) NotBefore() notbefore.Times {
	if known := r.notBefore.Load(); known != nil {
		return *known
	}
	r.mu.RLock() // so that no document changes before the result is stored
	defer r.mu.RUnlock()
	times := notbefore.Times{Clients: map[string]int64{}, Users: map[string]int64{}}
	if r.server != nil {
		times.Server = r.server.document.TokensNotBefore
	}
	for uid, c := range r.clientsByUID {
		if at := c.document.TokensNotBefore; at != 0 {
			times.Clients[uid] = at
		}
	}
	for uid, u := range r.users {
		if at := u.document.TokensNotBefore; at != 0 {
			times.Users[uid] = at
		}
	}
	r.notBefore.Store(&times)
	return times
}

// NotBeforeOf returns what is void now of what was issued to a client about a user. Either UID may
// be empty.
func (r *Registry) NotBeforeOf(clientUID, userUID string) notbefore.Limits {
	return r.NotBefore().At(r.now(), clientUID, userUID)
}
