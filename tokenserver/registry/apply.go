package registry

import (
	"fmt"
	"maps"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// Apply puts an entry in force in place of the one of that name. If it cannot be served (the error wraps ErrRejected), nothing of either is
// in force. Applying the same again changes nothing.
func (r *Registry) Apply(name string, e Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.apply(name, e)
}

// Remove takes an entry out of force; one that is not there is no error.
func (r *Registry) Remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(name)
}

// Replace puts these entries in force in place of all others, and returns the ones that were rejected and why. Readers see none of the steps
// between.
func (r *Registry) Replace(entries map[string]Entry) map[string]error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range maps.Clone(r.entries) {
		if kept, ok := entries[name]; !ok || kept != r.entries[name] {
			r.remove(name)
		}
	}
	rejected := map[string]error{}
	for name, e := range entries {
		if err := r.apply(name, e); err != nil {
			rejected[name] = err
		}
	}
	return rejected
}

func (r *Registry) apply(name string, e Entry) error {
	if old, ok := r.entries[name]; ok && old == e {
		return nil
	}
	r.remove(name)
	if other, taken := r.names[nameKey{e.Space, e.Value}]; taken {
		return fmt.Errorf("%w: entry %s holds this name already", ErrRejected, other.entry)
	}
	if e.OwnerUID == "" {
		return fmt.Errorf("%w: the name has no owner", ErrRejected)
	}
	if err := r.addDocument(name, e); err != nil {
		return fmt.Errorf("%w: %w", ErrRejected, err)
	}
	r.entries[name] = e
	r.names[nameKey{e.Space, e.Value}] = nameOwner{name, e.OwnerUID}
	r.updateRulesRevision(e)
	return nil
}

// bump starts a new epoch if decisions about clients follow from the entry.
func (r *Registry) updateRulesRevision(e Entry) {
	if kind := documents.Kind(e.Format); kind != documents.KindClient && kind != documents.KindUser && e.Space != SpaceUsername {
		r.rulesRevision++
	}
}

// put decodes the document of an entry and indexes it.
func (r *Registry) addDocument(name string, e Entry) error {
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
	}
	return fmt.Errorf("%w %q", documents.ErrFormat, e.Format)
}

func checkSpace(space string) error {
	switch space {
	case SpaceIdentity, SpaceUsername, SpaceScope, SpaceNamespace:
		return nil
	}
	return fmt.Errorf("unknown space %q", space)
}

// about checks that a document is about the owner of the entry and the name that the entry holds.
func checkOwner(e Entry, space, value, uid string) error {
	switch {
	case e.Space != space:
		return fmt.Errorf("a document of format %s is in space %q, want %q", e.Format, e.Space, space)
	case value == "" || e.Value != value:
		return fmt.Errorf("the document is about another name than the entry")
	case uid == "" || e.OwnerUID != uid:
		return fmt.Errorf("the document is about another object than the owner of the entry")
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
	c := &clientRecord{entry: name, document: doc}
	r.clients[doc.ID], r.clientsByUID[doc.UID] = c, c
	return nil
}

// putUser takes the document with either of a user's names. While a name changes there may be two; the one that came last counts.
func (r *Registry) addUser(name string, e Entry) error {
	doc, err := documents.Decode[documents.User](e.Format, e.Document)
	if err != nil {
		return err
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
	return nil
}

func (r *Registry) removeUser(uid string) {
	if u := r.users[uid]; u != nil {
		r.hashCosts.add(u.document.PasswordHash, -1)
		delete(r.users, uid)
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
	h := &entryDocument[documents.ResourceServer]{name, doc}
	r.resourceServers[identifier], r.resourceServersByUID[doc.UID] = h, h
	return nil
}

func (r *Registry) addNamespace(name string, e Entry) error {
	doc, err := documents.Decode[documents.Namespace](e.Format, e.Document)
	if err != nil {
		return err
	}
	if e.Space != SpaceNamespace || doc.Name == "" || e.Value != doc.Name {
		return fmt.Errorf("the document is about another namespace than the entry")
	}
	if doc.Labels == nil {
		doc.Labels = map[string]string{} // known to have none, and not unknown
	}
	r.namespaces[doc.Name] = &entryDocument[documents.Namespace]{name, doc}
	return nil
}

// remove undoes apply.
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
	case documents.KindClient:
		c := r.clients[e.Value]
		delete(r.clients, e.Value)
		delete(r.clientsByUID, c.document.UID)
	case documents.KindUser:
		if u := r.users[e.OwnerUID]; u != nil && u.entry == name {
			r.removeUser(e.OwnerUID)
		}
	case documents.KindResourceServer:
		delete(r.resourceServers, e.Value)
		delete(r.resourceServersByUID, e.OwnerUID)
	case documents.KindNamespace:
		delete(r.namespaces, e.Value)
	}
	r.updateRulesRevision(e)
}
