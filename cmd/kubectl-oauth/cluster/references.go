package cluster

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/subjects"
)

// Kind is a kind of objects that a reference can name.
type Kind struct {
	// Word is what references begin with: "client".
	Word string
	// Name is the kind as Kubernetes spells it.
	Name string
	// aliases are what kubectl knows the kind by.
	aliases []string
	object  func() client.Object
	list    func() client.ObjectList
}

// The kinds that references can name.
var (
	KindClient = Kind{"client", "OAuthClient", []string{"clients", "oac", "oauthclient", "oauthclients"},
		func() client.Object { return &v1alpha1.OAuthClient{} }, func() client.ObjectList { return &v1alpha1.OAuthClientList{} }}
	KindUser = Kind{"user", "OAuthUser", []string{"users", "oauthuser", "oauthusers"},
		func() client.Object { return &v1alpha1.OAuthUser{} }, func() client.ObjectList { return &v1alpha1.OAuthUserList{} }}
	KindIdentity = Kind{"identity", "OAuthIdentity", []string{"identities", "oauthidentity", "oauthidentities"},
		func() client.Object { return &v1alpha1.OAuthIdentity{} }, func() client.ObjectList { return &v1alpha1.OAuthIdentityList{} }}
	KindGrant = Kind{"grant", "OAuthGrant", []string{"grants", "oauthgrant", "oauthgrants"},
		func() client.Object { return &v1alpha1.OAuthGrant{} }, func() client.ObjectList { return &v1alpha1.OAuthGrantList{} }}
	KindServer = Kind{"server", "AuthorizationServer", []string{"servers", "authserver", "authorizationserver", "authorizationservers"},
		func() client.Object { return &v1alpha1.AuthorizationServer{} }, func() client.ObjectList { return &v1alpha1.AuthorizationServerList{} }}
)

// New returns an empty object of the kind.
func (k Kind) New() client.Object { return k.object() }

// NewList returns an empty list of the kind.
func (k Kind) NewList() client.ObjectList { return k.list() }

// Reference names an object: "client/billing".
type Reference struct {
	Kind Kind
	Name string
	// Subject is that of an OAuthIdentity, if it was named by it.
	Subject string
}

// ParseReference parses "<kind>/<name>", where the kind is one of those that the command is for.
func ParseReference(text string, kinds ...Kind) (Reference, error) {
	word, name, found := strings.Cut(text, "/")
	word, _, _ = strings.Cut(strings.ToLower(word), ".") // oauthclient.oauth-operator.dev/billing, as kubectl prints it
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Word == word || slices.Contains(k.aliases, word) })
	if !found || name == "" || i < 0 || strings.Contains(name, "/") {
		var want []string
		for _, k := range kinds {
			want = append(want, k.Word+"/NAME")
		}
		return Reference{}, fmt.Errorf("%q is not of the form %s", text, strings.Join(want, " or "))
	}
	if kinds[i].Word != KindIdentity.Word || !strings.HasPrefix(name, oauth.IdentityPrefix) {
		return Reference{Kind: kinds[i], Name: name}, nil
	}
	if !subjects.IsValid(name) { // the sub of the user's tokens, as in logs
		return Reference{}, fmt.Errorf(
			"%q is not the sub of a user of an identity provider, which is ~ and 43 characters: copy all of it", name)
	}
	return Reference{Kind: kinds[i], Name: v1alpha1.OAuthIdentityName(name), Subject: name}, nil
}
