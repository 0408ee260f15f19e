package compile

import (
	"slices"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// Names are the names that an object asks for at its server, and those its status says it had. The
// manager writes the status, which outlives the Entries.
type Names struct {
	Requested, Held []Name
}

// add adds a name for which the object asks. held is whether the status says that it had it.
func (n *Names) add(name Name, held bool) {
	n.Requested = append(n.Requested, name)
	if held {
		n.Held = append(n.Held, name)
	}
}

// ClientNames returns the names of an OAuthClient: its client id.
func ClientNames(c *v1alpha1.OAuthClient) Names {
	var names Names
	id := ClientID(c)
	names.add(Name{internalv1alpha1.SpaceIdentity, id}, c.Status.ClientID == id)
	return names
}

// UserNames returns the names of an OAuthUser: first the subject, then the username if it is valid.
func UserNames(u *v1alpha1.OAuthUser) Names {
	var names Names
	subject := Subject(u)
	names.add(Name{internalv1alpha1.SpaceIdentity, subject}, u.Status.Subject == subject)
	if username, err := username(u); err == nil {
		names.add(Name{internalv1alpha1.SpaceUsername, username}, u.Status.Username == username)
	}
	return names
}

// ResourceServerNames returns the names of a ResourceServer: first the identifier, then the scopes.
func ResourceServerNames(rs *v1alpha1.ResourceServer) Names {
	var names Names
	names.add(IdentifierName(rs.Spec.Identifier), rs.Status.Identifier == rs.Spec.Identifier)
	for _, scope := range rs.Spec.Scopes {
		names.add(Name{internalv1alpha1.SpaceScope, scope.Name}, slices.Contains(rs.Status.Scopes, scope.Name))
	}
	return names
}

// IdentityProviderNames returns the names of an IdentityProvider for which others may ask too: its
// realm.
func IdentityProviderNames(p *v1alpha1.IdentityProvider) Names {
	var names Names
	realm := Realm(p)
	names.add(Name{internalv1alpha1.SpaceRealm, realm}, p.Status.Realm == realm)
	return names
}

// IdentifierName returns the name of a resource identifier, which is the same for both spellings of
// an empty path.
func IdentifierName(identifier string) Name {
	return Name{internalv1alpha1.SpaceIdentity, oauth.CanonicalResource(identifier)}
}
