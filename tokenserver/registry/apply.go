package registry

import (
	"fmt"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// Apply adds an entry, or replaces the entry of that name. If it cannot be served (the error wraps
// ErrRejected), neither the new nor the old entry is in force. Applying the same entry again
// changes nothing.
func (r *Registry) Apply(name string, e Entry) error { return r.ApplyDecoded(r.Decode(name, e)) }

// ApplyDecoded is Apply for an entry that Decode returned.
func (r *Registry) ApplyDecoded(d *Decoded) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.apply(d)
}

// Remove removes the entry of a name, if there is one.
func (r *Registry) Remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(name)
}

// Replace replaces all entries by those that Decode returned, and returns why it rejected those that
// cannot be served, by name. Readers see no state in between.
func (r *Registry) Replace(entries []*Decoded) map[string]error {
	byName := make(map[string]*Decoded, len(entries))
	for _, d := range entries {
		byName[d.name] = d
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, served := range r.entries {
		if d := byName[name]; d == nil || d.hash != served.hash {
			r.remove(name)
		}
	}
	rejected := map[string]error{}
	for name, d := range byName {
		if err := r.apply(d); err != nil {
			rejected[name] = err
		}
	}
	return rejected
}

// apply adds or replaces an entry. The caller holds the lock.
func (r *Registry) apply(d *Decoded) error {
	if served := r.entries[d.name]; served != nil && served.hash == d.hash {
		return nil
	}
	r.remove(d.name)
	if other := r.names[d.space][d.value]; other != nil {
		return fmt.Errorf("%w: entry %s has this name already", ErrRejected, other.name)
	}
	if d.ownerUID == "" {
		return fmt.Errorf("%w: the name has no owner", ErrRejected)
	}
	if err := r.add(d); err != nil {
		return fmt.Errorf("%w: %w", ErrRejected, err)
	}
	r.entries[d.name] = d
	if r.names[d.space] == nil {
		r.names[d.space] = map[string]*Decoded{}
	}
	r.names[d.space][d.value] = d
	r.updateRulesRevision(d)
	return nil
}

// updateRulesRevision increments the revision if an entry that changed may change how the rules
// evaluate a client.
func (r *Registry) updateRulesRevision(d *Decoded) {
	switch d.space {
	case SpaceUsername, SpaceIdentityProvider, SpaceRealm, SpaceIdentitySpec:
		return
	}
	if d.kind != documents.KindClient && d.kind != documents.KindUser {
		r.rulesRevision++
	}
}

// add adds the document of an entry to the indexes.
func (r *Registry) add(d *Decoded) error {
	if d.err != nil {
		return d.err
	}
	switch doc := d.document.(type) {
	case *entryDocument[documents.Server]:
		return r.addServer(doc)
	case *clientRecord:
		return r.addClient(doc)
	case *entryDocument[documents.User]:
		r.addUser(doc)
	case *entryDocument[documents.ResourceServer]:
		return r.addResourceServer(doc)
	case *entryDocument[documents.Namespace]:
		r.namespaces[doc.document.Name] = doc
	case *entryDocument[*IdentityProvider]:
		return r.addIdentityProvider(doc)
	case *entryDocument[documents.Identity]:
		r.identities[doc.document.Subject] = doc
		r.setLimit(r.limits.Users, doc.document.Subject, doc.document.TokensNotBefore)
	}
	return nil
}

func (r *Registry) addServer(s *entryDocument[documents.Server]) error {
	if r.server != nil {
		return fmt.Errorf("entry %s is the server's document already", r.server.entry)
	}
	r.server = s
	r.setServerLimit(s.document.TokensNotBefore)
	return nil
}

func (r *Registry) addClient(c *clientRecord) error {
	uid := c.document.UID
	if other := r.clientsByUID[uid]; other != nil {
		return fmt.Errorf("entry %s is the document of this client already", other.entry)
	}
	r.clientsByUID[uid] = c
	if c.document.JWKSURI != "" || c.document.PreviousAuth != nil {
		r.keySets[uid] = c
	}
	r.serviceAccounts.add(c)
	r.setLimit(r.limits.Clients, uid, c.document.TokensNotBefore)
	return nil
}

// addUser adds the document of a user. While a name of the user changes, two entries may have it; the
// one that was applied last counts.
func (r *Registry) addUser(u *entryDocument[documents.User]) {
	r.removeUser(u.document.UID)
	r.users[u.document.UID] = u
	r.hashCosts.add(u.document.PasswordHash, 1)
	r.setLimit(r.limits.Users, u.document.UID, u.document.TokensNotBefore)
}

func (r *Registry) removeUser(uid string) {
	if u := r.users[uid]; u != nil {
		r.hashCosts.add(u.document.PasswordHash, -1)
		delete(r.users, uid)
		r.setLimit(r.limits.Users, uid, 0)
	}
}

func (r *Registry) addResourceServer(rs *entryDocument[documents.ResourceServer]) error {
	uid := rs.document.UID
	if other := r.resourceServersByUID[uid]; other != nil {
		return fmt.Errorf("entry %s is the document of this resource server already", other.entry)
	}
	r.resourceServers[oauth.CanonicalResource(rs.document.Identifier)], r.resourceServersByUID[uid] = rs, rs
	return nil
}

// remove is Remove for a caller that holds the lock.
func (r *Registry) remove(name string) {
	d := r.entries[name]
	if d == nil {
		return
	}
	delete(r.entries, name)
	delete(r.names[d.space], d.value)
	switch doc := d.document.(type) {
	case *entryDocument[documents.Server]:
		r.server = nil
		r.setServerLimit(0)
	case *clientRecord:
		delete(r.clientsByUID, d.ownerUID)
		delete(r.keySets, d.ownerUID)
		r.serviceAccounts.remove(doc)
		r.setLimit(r.limits.Clients, d.ownerUID, 0)
	case *entryDocument[documents.User]:
		if r.users[d.ownerUID] == doc {
			r.removeUser(d.ownerUID)
		}
	case *entryDocument[documents.ResourceServer]:
		delete(r.resourceServers, d.value)
		delete(r.resourceServersByUID, d.ownerUID)
	case *entryDocument[documents.Namespace]:
		delete(r.namespaces, d.value)
	case *entryDocument[*IdentityProvider]:
		r.removeIdentityProvider(d.ownerUID)
	case *entryDocument[documents.Identity]:
		delete(r.identities, d.value)
		r.setLimit(r.limits.Users, d.value, 0)
	}
	r.updateRulesRevision(d)
}
