package interactiontest

import (
	"crypto/rand"
	"sync"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

// Passwords of the users.
const (
	AlicePassword = "correct horse battery staple"
	BobPassword   = "another long password"
)

func document(issuer string) documents.Server {
	all := documents.Namespaces{All: true}
	return documents.Server{
		UID: "uid-server", Namespace: "demo", Name: "main", Issuer: issuer,
		AllowedClients: []documents.ClientRule{{
			Name: "all", Namespaces: all, ClientIDs: []string{documents.Any}, Scopes: []string{documents.Any},
			GrantTypes: []string{
				oauth.GrantAuthorizationCode, oauth.GrantImplicit, oauth.GrantPassword, oauth.GrantClientCredentials, oauth.GrantRefreshToken,
			},
			RedirectHosts: []string{documents.Any}, RedirectSchemes: []string{"com.example.app"},
			Consent: []string{documents.ConsentRequired, documents.ConsentSkip},
		}},
		AllowedResourceServers: []documents.ResourceServerRule{{
			Name: "all", Namespaces: all, Identifiers: []string{documents.Any}, Scopes: []string{documents.Any},
		}},
		AccessTokenLifetime: 300, AuthorizationCodeLifetime: 60,
		RefreshToken:        documents.RefreshToken{IdleLifetime: 3600, AbsoluteLifetime: 36000, ReuseGracePeriod: 60},
		SessionIdleLifetime: 8 * 3600, SessionAbsoluteLifetime: 24 * 3600,
		Algorithms: []string{"ES256", "RS256"},
	}
}

// Redirect URIs of the clients.
const (
	WebRedirect     = "https://shop.example.com/callback"
	WebSignedOut    = "https://shop.example.com/signed-out?from=here"
	SPARedirect     = "https://spa.example.com/callback"
	HybridRedirect  = "https://hybrid.example.com/callback"
	LoopbackURI     = "http://127.0.0.1/callback"
	PrivateURI      = "com.example.app:/callback"
	OrdersAPI       = "https://orders.example.com"
	ScopeReadOrders = "orders:read"
)

// Clients returns the documents of the clients and of their API: web and trusted are confidential,
// spa and cli public, legacy has the implicit grant, hybrid that and codes. trusted skips consent.
func Clients() []any {
	code, refresh := oauth.GrantAuthorizationCode, oauth.GrantRefreshToken
	identity := []string{oauth.ScopeOpenID, oauth.ScopeProfile, oauth.ScopeEmail, oauth.ScopeOfflineAccess, ScopeReadOrders}
	client := func(id, name, method string, uris []string, grants ...string) documents.Client {
		return documents.Client{
			UID: "uid-" + id, Namespace: "apps", Name: id, ID: id, DisplayName: name, GrantTypes: grants, AuthMethod: method,
			RedirectURIs: uris, Scopes: identity, PKCE: documents.PKCERequired, Consent: documents.ConsentRequired, IDTokenAlg: "RS256",
		}
	}
	web := client("web", "Shop", oauth.AuthMethodSecretBasic, []string{WebRedirect}, code, refresh)
	web.PKCE, web.PostLogoutRedirectURIs = documents.PKCEWhenSent, []string{WebSignedOut, "com.example.app:/signed-out"}
	trusted := client("trusted", "Intranet", oauth.AuthMethodSecretBasic, []string{"https://intranet.example.com/callback"}, code, refresh)
	trusted.Consent, trusted.PKCE = documents.ConsentSkip, documents.PKCEWhenSent
	return []any{
		documents.ResourceServer{
			UID: "uid-orders", Namespace: "apps", Name: "orders", Identifier: OrdersAPI,
			Scopes: []documents.Scope{{Name: ScopeReadOrders, Description: "See your orders"}},
			AllowedClients: []documents.ResourceClientRule{{
				Name: "all", Namespaces: documents.Namespaces{All: true}, Scopes: []string{documents.Any},
			}},
		},
		web, trusted,
		client("strict", "Strict", oauth.AuthMethodSecretBasic, []string{"https://strict.example.com/callback"}, code),
		client("spa", "Single page", oauth.AuthMethodNone, []string{SPARedirect}, code, refresh),
		client("cli", "Command line", oauth.AuthMethodNone, []string{LoopbackURI, PrivateURI, "http://[::1]:8000/callback"}, code, refresh),
		client("hybrid", "Hybrid", oauth.AuthMethodNone, []string{HybridRedirect}, code, oauth.GrantImplicit, refresh),
		client("legacy", "Legacy", oauth.AuthMethodNone, []string{"https://legacy.example.com/callback"}, oauth.GrantImplicit),
	}
}

// passwordHashes are made once: to hash a password is slow.
var passwordHashes = sync.OnceValue(func() map[string]string {
	hashes := map[string]string{}
	for name, secret := range map[string]string{"alice": AlicePassword, "bob": BobPassword} {
		hash, err := password.Hash(secret, rand.Reader)
		if err != nil {
			panic(err)
		}
		hashes[name] = hash
	}
	return hashes
})

func users() []any {
	user := func(name string, claims map[string]any) documents.User {
		return documents.User{
			UID: "uid-" + name, Subject: "subject-" + name, Username: name, PasswordHash: passwordHashes()[name], Epoch: "epoch-" + name,
			Claims: claims,
		}
	}
	return []any{
		documents.Namespace{Name: "demo"}, documents.Namespace{Name: "apps"},
		user("alice", map[string]any{"name": "Alice Liddell", "email": "alice@example.com"}), user("bob", nil),
	}
}
