package registry

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/claimmapping"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// IdentityProvider is an identity provider that the server knows. It is immutable.
//
// One that is suspended is known, and so is one that is NotAccepted: of the first everything is
// refused, while of the second nothing can be checked, but nothing has ended. One that does not own
// its realm counts as NotAccepted, since its users would have the subjects of another's.
type IdentityProvider struct {
	documents.IdentityProvider
	// Mapping makes the claims about its users; nil if the provider is NotAccepted.
	Mapping *claimmapping.Mapping
}

// IdentityProvider returns the provider with a name; false if there is none.
func (r *Registry) IdentityProvider(name string) (*IdentityProvider, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.findIdentityProvider(r.identityProviders[r.ownerOf(SpaceIdentityProvider, name)])
}

// IdentityProviderByUID is like IdentityProvider, for the UID that is in what was issued to a user.
func (r *Registry) IdentityProviderByUID(uid string) (*IdentityProvider, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.findIdentityProvider(r.identityProviders[uid])
}

// IdentityProviders returns all providers, sorted by name.
func (r *Registry) IdentityProviders() []*IdentityProvider {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var all []*IdentityProvider
	for _, d := range r.identityProviders {
		if p, ok := r.findIdentityProvider(d); ok {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b *IdentityProvider) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func (r *Registry) findIdentityProvider(d *entryDocument[*IdentityProvider]) (*IdentityProvider, bool) {
	if d == nil {
		return nil, false
	}
	p := d.document
	if !p.NotAccepted && !r.ownsName(SpaceRealm, p.Realm, p.UID) {
		return &IdentityProvider{IdentityProvider: documents.IdentityProvider{
			UID: p.UID, Namespace: p.Namespace, Name: p.Name, DisplayName: p.DisplayName, Suspended: p.Suspended,
			TokensNotBefore: p.TokensNotBefore, NotAccepted: true,
		}}, true
	}
	return p, true
}

// Identity returns what the owner of the server says about a user from elsewhere; false if that is
// nothing.
func (r *Registry) Identity(subject string) (documents.Identity, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	d := r.identities[subject]
	if d == nil {
		return documents.Identity{}, false
	}
	return d.document, true
}

// decodeProvider decodes the document of an identity provider, and compiles its expressions.
func decodeProvider(name string, e Entry) (any, error) {
	doc, err := documents.Decode[documents.IdentityProvider](e.Format, e.Document)
	if err != nil {
		return nil, err
	}
	if err := checkOwner(e, SpaceIdentityProvider, doc.Name, doc.UID); err != nil {
		return nil, err
	}
	if doc.Name == documents.LocalProvider {
		return nil, fmt.Errorf("no identity provider is named %s, which stands for the OAuthUsers", doc.Name)
	}
	p := &IdentityProvider{IdentityProvider: doc}
	if doc.NotAccepted {
		return &entryDocument[*IdentityProvider]{name, p}, nil
	}
	if doc.Realm == "" || doc.SubjectAttribute == "" || (doc.Type == documents.ProviderOIDC) != (doc.OIDC != nil) ||
		(doc.Type == documents.ProviderLDAP) != (doc.LDAP != nil) || (doc.OIDC == nil) == (doc.LDAP == nil) {
		return nil, errors.New("the provider has no realm, no subject attribute, or not the settings of its type")
	}
	if p.Mapping, err = claimmapping.Compile(doc.Allow, doc.Claims); err != nil {
		return nil, errors.New("an expression of allow or claims cannot be compiled")
	}
	return &entryDocument[*IdentityProvider]{name, p}, nil
}

func (r *Registry) addIdentityProvider(p *entryDocument[*IdentityProvider]) error {
	uid := p.document.UID
	if other := r.identityProviders[uid]; other != nil {
		return fmt.Errorf("entry %s is the document of this identity provider already", other.entry)
	}
	r.identityProviders[uid] = p
	r.setLimit(r.limits.Providers, uid, p.document.TokensNotBefore)
	return nil
}

func (r *Registry) removeIdentityProvider(uid string) {
	delete(r.identityProviders, uid)
	r.setLimit(r.limits.Providers, uid, 0)
}
