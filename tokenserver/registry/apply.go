package registry

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// Apply adds an entry, or replaces the entry of that name. If it cannot be served (the error wraps
// ErrRejected), neither the new nor the old entry is in force. Applying the same entry again
// changes nothing.
func (r *Registry) Apply(name string, e Entry) error {
	provider := decodeProvider(e)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.apply(name, e, provider)
}

// Remove removes the entry of a name, if there is one.
func (r *Registry) Remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(name)
}

// Replace replaces all entries, and returns why it rejected those that cannot be served, by name.
// Readers see no state in between.
func (r *Registry) Replace(entries map[string]Entry) map[string]error {
	providers := map[string]decodedProvider{}
	for name, e := range entries {
		if documents.Kind(e.Format) == documents.KindIdentityProvider {
			providers[name] = decodeProvider(e)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range maps.Clone(r.entries) {
		if kept, ok := entries[name]; !ok || kept != r.entries[name] {
			r.remove(name)
		}
	}
	rejected := map[string]error{}
	for name, e := range entries {
		if err := r.apply(name, e, providers[name]); err != nil {
			rejected[name] = err
		}
	}
	return rejected
}

// apply is Apply for a caller that holds the lock, and has called decodeProvider.
func (r *Registry) apply(name string, e Entry, provider decodedProvider) error {
	if old, ok := r.entries[name]; ok && old == e {
		return nil
	}
	r.remove(name)
	if other, taken := r.names[nameKey{e.Space, e.Value}]; taken {
		return fmt.Errorf("%w: entry %s has this name already", ErrRejected, other.entry)
	}
	if e.OwnerUID == "" {
		return fmt.Errorf("%w: the name has no owner", ErrRejected)
	}
	if err := r.addDocument(name, e, provider); err != nil {
		return fmt.Errorf("%w: %w", ErrRejected, err)
	}
	r.entries[name] = e
	r.names[nameKey{e.Space, e.Value}] = nameOwner{name, e.OwnerUID}
	r.updateRulesRevision(e)
	return nil
}

// updateRulesRevision increments the revision if an entry that changed may change how the rules
// evaluate a client.
func (r *Registry) updateRulesRevision(e Entry) {
	switch e.Space {
	case SpaceUsername, SpaceIdentityProvider, SpaceRealm, SpaceIdentitySpec:
		return
	}
	if kind := documents.Kind(e.Format); kind != documents.KindClient && kind != documents.KindUser {
		r.rulesRevision++
	}
}

// addDocument decodes the document of an entry, and adds it to the indexes.
func (r *Registry) addDocument(name string, e Entry, provider decodedProvider) error {
	switch documents.Kind(e.Format) {
	case "":
		return checkSpace(e.Space)
	case documents.KindServer:
		return r.addServer(name, e)
	case documents.KindClient:
		return r.addClient(name, e)
	case documents.KindUser:
		return r.addUser(name, e)
	case documents.KindResourceServer:
		return r.addResourceServer(name, e)
	case documents.KindNamespace:
		return r.addNamespace(name, e)
	case documents.KindIdentityProvider:
		return r.addIdentityProvider(name, provider)
	case documents.KindIdentity:
		return r.addIdentity(name, e)
	}
	return fmt.Errorf("%w %q", documents.ErrFormat, e.Format)
}

func checkSpace(space string) error {
	switch space {
	case SpaceIdentity, SpaceUsername, SpaceScope, SpaceNamespace, SpaceIdentityProvider, SpaceRealm, SpaceIdentitySpec:
		return nil
	}
	return fmt.Errorf("unknown space %q", space)
}

// checkOwner returns an error unless the entry is in the space, and its name and owner are the
// value and the uid that its document has.
func checkOwner(e Entry, space, value, uid string) error {
	switch {
	case e.Space != space:
		return fmt.Errorf("a document of format %s is in space %q, want %q", e.Format, e.Space, space)
	case value == "" || e.Value != value:
		return errors.New("the document is about another name than the entry")
	case uid == "" || e.OwnerUID != uid:
		return errors.New("the document is about another object than the owner of the entry")
	}
	return nil
}

func (r *Registry) addServer(name string, e Entry) error {
	doc, err := documents.Decode[documents.Server](e.Format, e.Document)
	if err != nil {
		return err
	}
	if err := checkOwner(e, SpaceIdentity, doc.Issuer, doc.UID); err != nil {
		return err
	}
	if r.server != nil {
		return fmt.Errorf("entry %s is the server's document already", r.server.entry)
	}
	r.server = &entryDocument[documents.Server]{name, doc}
	r.setServerLimit(doc.TokensNotBefore)
	return nil
}

func (r *Registry) addClient(name string, e Entry) error {
	doc, err := documents.Decode[documents.Client](e.Format, e.Document)
	if err != nil {
		return err
	}
	if err := checkOwner(e, SpaceIdentity, doc.ID, doc.UID); err != nil {
		return err
	}
	if other := r.clientsByUID[doc.UID]; other != nil {
		return fmt.Errorf("entry %s is the document of this client already", other.entry)
	}
	doc.Credentials = withoutRevoked(doc)
	c := &clientRecord{entry: name, document: doc}
	r.clients[doc.ID], r.clientsByUID[doc.UID] = c, c
	r.serviceAccounts.add(c)
	r.setLimit(r.limits.Clients, doc.UID, doc.TokensNotBefore)
	return nil
}

// withoutRevoked returns the credentials of a client except those that have the value of a revoked
// one.
func withoutRevoked(doc documents.Client) []documents.Credential {
	return slices.DeleteFunc(doc.Credentials, func(c documents.Credential) bool {
		return slices.ContainsFunc(doc.RevokedCredentials, func(revoked documents.RevokedCredential) bool {
			return strings.EqualFold(revoked.SHA256, c.SHA256)
		})
	})
}

// addUser accepts the document in the entry of either of a user's names. While a name changes, two
// entries may have it; the one that was applied last counts.
func (r *Registry) addUser(name string, e Entry) error {
	doc, err := documents.Decode[documents.User](e.Format, e.Document)
	if err != nil {
		return err
	}
	if strings.HasPrefix(doc.Subject, oauth.IdentityPrefix) {
		return fmt.Errorf("the subject begins with %s, as only those of users from identity providers do", oauth.IdentityPrefix)
	}
	space, value := SpaceIdentity, doc.Subject
	if e.Space == SpaceUsername {
		space, value = SpaceUsername, doc.Username
	}
	if err := checkOwner(e, space, value, doc.UID); err != nil {
		return err
	}
	r.removeUser(doc.UID)
	r.users[doc.UID] = &entryDocument[documents.User]{name, doc}
	r.hashCosts.add(doc.PasswordHash, 1)
	r.setLimit(r.limits.Users, doc.UID, doc.TokensNotBefore)
	return nil
}

func (r *Registry) removeUser(uid string) {
	if u := r.users[uid]; u != nil {
		r.hashCosts.add(u.document.PasswordHash, -1)
		delete(r.users, uid)
		r.setLimit(r.limits.Users, uid, 0)
	}
}

func (r *Registry) addResourceServer(name string, e Entry) error {
	doc, err := documents.Decode[documents.ResourceServer](e.Format, e.Document)
	if err != nil {
		return err
	}
	identifier := oauth.CanonicalResource(doc.Identifier)
	if err := checkOwner(e, SpaceIdentity, identifier, doc.UID); err != nil {
		return err
	}
	if other := r.resourceServersByUID[doc.UID]; other != nil {
		return fmt.Errorf("entry %s is the document of this resource server already", other.entry)
	}
	rs := &entryDocument[documents.ResourceServer]{name, doc}
	r.resourceServers[identifier], r.resourceServersByUID[doc.UID] = rs, rs
	return nil
}

func (r *Registry) addNamespace(name string, e Entry) error {
	doc, err := documents.Decode[documents.Namespace](e.Format, e.Document)
	if err != nil {
		return err
	}
	if e.Space != SpaceNamespace || doc.Name == "" || e.Value != doc.Name {
		return errors.New("the document is about another namespace than the entry")
	}
	if doc.Labels == nil {
		doc.Labels = map[string]string{} // nil would mean that its labels are not known
	}
	r.namespaces[doc.Name] = &entryDocument[documents.Namespace]{name, doc}
	return nil
}

// remove is Remove for a caller that holds the lock.
func (r *Registry) remove(name string) {
	e, ok := r.entries[name]
	if !ok {
		return
	}
	delete(r.entries, name)
	delete(r.names, nameKey{e.Space, e.Value})
	switch documents.Kind(e.Format) {
	case documents.KindServer:
		r.server = nil
		r.setServerLimit(0)
	case documents.KindClient:
		c := r.clients[e.Value]
		delete(r.clients, e.Value)
		delete(r.clientsByUID, c.document.UID)
		r.serviceAccounts.remove(c)
		r.setLimit(r.limits.Clients, c.document.UID, 0)
	case documents.KindUser:
		if u := r.users[e.OwnerUID]; u != nil && u.entry == name {
			r.removeUser(e.OwnerUID)
		}
	case documents.KindResourceServer:
		delete(r.resourceServers, e.Value)
		delete(r.resourceServersByUID, e.OwnerUID)
	case documents.KindNamespace:
		delete(r.namespaces, e.Value)
	case documents.KindIdentityProvider:
		r.removeIdentityProvider(e.OwnerUID)
	case documents.KindIdentity:
		r.removeIdentity(e.Value)
	}
	r.updateRulesRevision(e)
}
