// Package registrytest fills registries of tests with documents and the names that go with them, as
// the manager would write them.
package registrytest

import (
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// Fill applies the entries of each document. The test fails if one is rejected.
func Fill(t testing.TB, r *registry.Registry, documents ...any) {
	t.Helper()
	for _, doc := range documents {
		for name, e := range Entries(t, doc) {
			if err := r.Apply(name, e); err != nil {
				t.Fatalf("applying %s: %v", name, err)
			}
		}
	}
}

// Entries returns the entries of one document, by name: the one that has the document, and one for
// each other name of its owner.
func Entries(t testing.TB, doc any) map[string]registry.Entry {
	t.Helper()
	document, err := documents.Encode(doc)
	if err != nil {
		t.Fatal(err)
	}
	entries := map[string]registry.Entry{}
	add := func(space, value, uid, format, document string) {
		entries[Name(space, value)] = registry.Entry{Space: space, Value: value, OwnerUID: uid, Format: format, Document: document}
	}
	switch d := doc.(type) {
	case documents.Server:
		add(registry.SpaceIdentity, d.Issuer, d.UID, documents.Format(doc), document)
	case documents.Client:
		add(registry.SpaceIdentity, d.ID, d.UID, documents.Format(doc), document)
	case documents.User:
		add(registry.SpaceIdentity, d.Subject, d.UID, documents.Format(doc), document)
		add(registry.SpaceUsername, d.Username, d.UID, "", "")
	case documents.ResourceServer:
		add(registry.SpaceIdentity, oauth.CanonicalResource(d.Identifier), d.UID, documents.Format(doc), document)
		for _, s := range d.Scopes {
			add(registry.SpaceScope, s.Name, d.UID, "", "")
		}
	case documents.Namespace:
		add(registry.SpaceNamespace, d.Name, "namespace-"+d.Name, documents.Format(doc), document)
	case documents.IdentityProvider:
		add(registry.SpaceIdentityProvider, d.Name, d.UID, documents.Format(doc), document)
		if d.Realm != "" {
			add(registry.SpaceRealm, d.Realm, d.UID, "", "")
		}
	case documents.Identity:
		add(registry.SpaceIdentitySpec, d.Subject, d.UID, documents.Format(doc), document)
	default:
		t.Fatalf("%T is no document", doc)
	}
	return entries
}

// Name returns the name of the entry for a value in a space.
func Name(space, value string) string { return space + "/" + value }

// Replace replaces all entries of a registry, by name, and returns why it rejected some of them.
func Replace(r *registry.Registry, entries map[string]registry.Entry) map[string]error {
	var decoded []*registry.Decoded
	for name, e := range entries {
		decoded = append(decoded, r.Decode(name, e))
	}
	return r.Replace(decoded)
}
