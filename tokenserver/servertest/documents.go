package servertest

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
)

func document() documents.Server {
	all := documents.Namespaces{All: true}
	each := []string{documents.Any}
	return documents.Server{
		UID: "server-uid", Namespace: "identity", Name: "main", Issuer: Issuer,
		AllowedClients: []documents.ClientRule{{
			Name: "all", Namespaces: all, ClientIDs: each, Scopes: each, RedirectHosts: each, RedirectSchemes: []string{"com.shop.app"},
			GrantTypes: []string{
				oauth.GrantAuthorizationCode, oauth.GrantImplicit, oauth.GrantPassword, oauth.GrantClientCredentials, oauth.GrantRefreshToken,
			},
			Consent: []string{documents.ConsentRequired, documents.ConsentSkip},
		}},
		AllowedResourceServers:    []documents.ResourceServerRule{{Name: "all", Namespaces: all, Identifiers: each, Scopes: each}},
		AccessTokenLifetime:       300,
		AuthorizationCodeLifetime: 60,
		RefreshToken:              documents.RefreshToken{IdleLifetime: 720 * 3600, AbsoluteLifetime: 2160 * 3600, ReuseGracePeriod: 60},
		SessionIdleLifetime:       8 * 3600, SessionAbsoluteLifetime: 24 * 3600,
		Algorithms: []string{"ES256", "RS256"},
	}
}

// ChangeDocument changes the AuthorizationServer's document and serves it, as one Entry does.
func (s *Server) ChangeDocument(change func(*documents.Server)) {
	s.T.Helper()
	// What is served already must not change under its readers.
	document, err := documents.Encode(s.Document)
	must(s.T, err)
	s.Document, err = documents.Decode[documents.Server](documents.Format(s.Document), document)
	must(s.T, err)
	change(&s.Document)
	s.serveDocument()
}

func (s *Server) serveDocument() {
	s.T.Helper()
	s.Keys.SetDocument(s.Document)
	registrytest.Fill(s.T, s.Registry, s.Document)
}

// Client is a confidential client of the code flow with the secret Secret. Change what a test is
// about.
func Client(id string) documents.Client {
	return documents.Client{
		UID: id + "-uid", Namespace: "shop", Name: id, ID: id,
		GrantTypes: []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}, AuthMethod: oauth.AuthMethodSecretBasic,
		RedirectURIs: []string{Callback}, Scopes: []string{"openid", "profile", "email", "offline_access", "orders:read", "orders:write", "stock:read"},
		PKCE: documents.PKCERequired, Consent: documents.ConsentSkip, IDTokenAlg: "RS256",
		Credentials: []documents.Credential{Credential("c1", Secret)},
	}
}

// Credential of a secret.
func Credential(id, secret string) documents.Credential {
	sum := sha256.Sum256([]byte(secret))
	return documents.Credential{ID: id, SHA256: hex.EncodeToString(sum[:]), State: documents.CredentialActive}
}

// Public makes a client a public one.
func Public(c documents.Client) documents.Client {
	c.AuthMethod, c.Credentials = oauth.AuthMethodNone, nil
	return c
}

// AddClient serves a client, also in place of what was served for it.
func (s *Server) AddClient(c documents.Client) documents.Client {
	s.T.Helper()
	registrytest.Fill(s.T, s.Registry, c)
	return c
}

// RemoveClient stops serving a client.
func (s *Server) RemoveClient(id string) { s.remove(registry.SpaceIdentity, id) }

func (s *Server) remove(space, value string) { s.Registry.Remove(registrytest.Name(space, value)) }

// User is alice.
func User() documents.User {
	return documents.User{
		UID: "alice-uid", Subject: Subject, Username: Username, PasswordHash: keyMaterial().passwordHash, Epoch: "epoch-1",
		Claims: map[string]any{"name": "Alice", "email": "alice@example.com", "email_verified": true, "groups": []any{"admins"}, "department": "sales"},
	}
}

// AddUser serves a user, also in place of what was served for it.
func (s *Server) AddUser(u documents.User) {
	s.T.Helper()
	registrytest.Fill(s.T, s.Registry, u)
}

// RemoveUser stops serving a user.
func (s *Server) RemoveUser(u documents.User) {
	s.remove(registry.SpaceUsername, u.Username)
	s.remove(registry.SpaceIdentity, u.Subject)
}

// ResourceServer with scopes, which allows every client and lists none for introspection.
func ResourceServer(identifier string, scopes ...string) documents.ResourceServer {
	rs := documents.ResourceServer{
		UID: identifier + "-uid", Namespace: "apis", Name: "api", Identifier: identifier,
		AllowedClients: []documents.ResourceClientRule{{
			Name: "all", Namespaces: documents.Namespaces{All: true}, Scopes: []string{documents.Any},
		}},
	}
	for _, scope := range scopes {
		rs.Scopes = append(rs.Scopes, documents.Scope{Name: scope})
	}
	return rs
}

// AddResourceServer serves a resource server, also in place of what was served for it.
func (s *Server) AddResourceServer(rs documents.ResourceServer) {
	s.T.Helper()
	registrytest.Fill(s.T, s.Registry, rs)
}

// RemoveResourceServer stops serving a resource server.
func (s *Server) RemoveResourceServer(identifier string) {
	s.remove(registry.SpaceIdentity, oauth.CanonicalResource(identifier))
}
