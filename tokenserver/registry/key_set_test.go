package registry_test

import (
	"slices"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
)

// Else a client that no rule allows could have a server fetch what it likes.
func TestTheKeySetsAreThoseOfClientsThatMayBeServed(t *testing.T) {
	r := registry.New(time.Now)
	registrytest.Fill(t, r, documents.Namespace{Name: "shop"}, documents.Namespace{Name: "blog"}, documents.Server{
		UID: "server-uid", Issuer: "https://auth.example.com",
		AllowedClients: []documents.ClientRule{{
			Name: "shop", Namespaces: documents.Namespaces{Names: []string{"shop"}}, GrantTypes: []string{oauth.GrantClientCredentials}, Scopes: []string{"*"},
			Consent: []string{documents.ConsentRequired},
		}},
	})
	client := func(namespace, name string, change func(*documents.Client)) documents.Client {
		c := documents.Client{
			UID: name + "-uid", Namespace: namespace, Name: name, ID: namespace + "." + name, AuthMethod: oauth.AuthMethodPrivateKey,
			GrantTypes: []string{oauth.GrantClientCredentials}, Consent: documents.ConsentRequired, JWKSURI: "https://" + name + ".example.com/jwks",
		}
		change(&c)
		return c
	}
	keep := func(*documents.Client) {}
	registrytest.Fill(t, r,
		client("shop", "web", keep), client("shop", "api", keep), client("blog", "refused", keep),
		client("shop", "suspended", func(c *documents.Client) { c.Suspended = true }),
		client("shop", "moved", func(c *documents.Client) { // to a secret, an hour before its keys end
			c.AuthMethod, c.JWKSURI = oauth.AuthMethodSecretBasic, ""
			c.PreviousAuth = &documents.PreviousAuth{Method: oauth.AuthMethodPrivateKey, JWKSURI: "https://moved.example.com/jwks", Until: time.Now().Add(time.Hour).Unix()}
		}),
		client("shop", "inline", func(c *documents.Client) { c.JWKSURI, c.JWKS = "", []documents.JWK{{KeyType: "EC"}} }))
	want := []registry.KeySet{
		{ClientUID: "api-uid", URI: "https://api.example.com/jwks"}, {ClientUID: "moved-uid", URI: "https://moved.example.com/jwks"},
		{ClientUID: "web-uid", URI: "https://web.example.com/jwks"},
	}
	if sets := r.KeySets(); !slices.Equal(sets, want) {
		t.Errorf("the key sets are %v, want %v", sets, want)
	}
	r.Remove(registrytest.Name(registry.SpaceIdentity, "shop.moved"))
	registrytest.Fill(t, r, client("shop", "api", func(c *documents.Client) { c.JWKSURI, c.JWKS = "", []documents.JWK{{KeyType: "EC"}} }))
	if sets := r.KeySets(); !slices.Equal(sets, want[2:]) {
		t.Errorf("after one is deleted and one has keys in its document, the key sets are %v, want %v", sets, want[2:])
	}
}

// BenchmarkKeySets is what each write of the Replica asks.
func BenchmarkKeySets(b *testing.B) {
	r := newShop(b)
	for i := range 100_000 {
		registrytest.Fill(b, r, aClient(i))
	}
	for b.Loop() {
		r.KeySets()
	}
}
