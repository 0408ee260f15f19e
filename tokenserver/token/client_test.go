package token_test

import (
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
)

// newClientOfAllGrants returns a client that may use every grant type of the token endpoint.
func newClientOfAllGrants() documents.Client {
	c := servertest.Client("shop.everything")
	c.GrantTypes = []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken, oauth.GrantPassword, oauth.GrantClientCredentials}
	return c
}

func TestARefusedClientIsUnknownToEveryGrant(t *testing.T) {
	for what, refuse := range map[string]func(w *servertest.Server, c documents.Client){
		"suspended": func(w *servertest.Server, c documents.Client) {
			c.Suspended = true
			w.AddClient(c)
		},
		"deleted": func(w *servertest.Server, c documents.Client) { w.RemoveClient(c.ID) },
		"its grant type is in no rule any more": func(w *servertest.Server, _ documents.Client) {
			w.ChangeDocument(func(s *documents.Server) {
				s.AllowedClients[0].GrantTypes = []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken, oauth.GrantClientCredentials}
			})
		},
		"its namespace is in no rule any more": func(w *servertest.Server, _ documents.Client) {
			w.ChangeDocument(func(s *documents.Server) {
				s.AllowedClients[0].Namespaces = documents.Namespaces{Names: []string{"elsewhere"}}
			})
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newServer(t)
			c := w.AddClient(newClientOfAllGrants())
			code, refresh := w.Code(w.Authorization(c, "openid")), w.IssueTokens(c, "openid").String("refresh_token")
			before := w.Store.Writes()
			refuse(w, c)
			for _, pairs := range [][]string{
				{"grant_type", "client_credentials"},
				{"grant_type", "password", "username", "alice", "password", servertest.Password},
				{"grant_type", "refresh_token", "refresh_token", refresh},
				{"grant_type", "authorization_code", "code", code, "redirect_uri", servertest.Callback, "code_verifier", servertest.Verifier},
				{"grant_type", "unknown"},
				{},
			} {
				w.CheckError(w.Post("/token", c, pairs...), 401, "invalid_client")
			}
			if w.Store.Writes() != before || w.Passwords.CountHashed() != 0 {
				t.Error("a refused client caused a write or had a password hashed")
			}
			w.AddClient(c)
			w.ChangeDocument(func(s *documents.Server) {
				s.AllowedClients[0].GrantTypes = newClientOfAllGrants().GrantTypes
				s.AllowedClients[0].Namespaces = documents.Namespaces{All: true}
			})
			w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials"))
			w.RequireOK(w.Refresh(c, refresh))
			w.RequireOK(w.Redeem(c, code))
		})
	}
}

func TestNobodyGetsATokenWithoutSayingWhoTheyAre(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newClientOfAllGrants())
	a := w.IssueTokens(c, "openid")
	for _, pairs := range [][]string{
		{"grant_type", "client_credentials"},
		{"grant_type", "client_credentials", "client_id", c.ID},
		{"grant_type", "refresh_token", "refresh_token", a.String("refresh_token")},
		{"grant_type", "refresh_token", "refresh_token", a.String("refresh_token"), "client_id", c.ID},
		{"grant_type", "authorization_code", "code", w.Code(w.Authorization(c, "openid")), "redirect_uri", servertest.Callback, "code_verifier", servertest.Verifier},
	} {
		w.CheckError(w.Post("/token", noClient, pairs...), 401, "invalid_client")
	}
	w.RequireOK(w.Refresh(c, a.String("refresh_token")))
}

func TestATokenOfOneKindIsNoneOfAnother(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newClientOfAllGrants())
	a := w.IssueTokens(c, "openid")
	kinds := map[string]string{
		"an access token": a.String("access_token"), "an ID token": a.String("id_token"), "a refresh token": a.String("refresh_token"),
		"a jti": w.Claims(a.String("access_token"))["jti"].(string), "an id of a record": w.StoredGrants()[0].ID,
	}
	for what, value := range kinds {
		if answer := w.Redeem(c, value); answer.Status != 400 || answer.ErrorCode() != "invalid_grant" {
			t.Errorf("%s as a code: %d %s", what, answer.Status, answer.Body)
		}
	}
	kinds["a code"] = w.Code(w.Authorization(c, "openid"))
	delete(kinds, "a refresh token")
	for what, value := range kinds {
		if answer := w.Refresh(c, value); answer.Status != 400 || answer.ErrorCode() != "invalid_grant" {
			t.Errorf("%s as a refresh token: %d %s", what, answer.Status, answer.Body)
		}
	}
	if w.StoredGrants()[0].IsEnded() {
		t.Error("trying ended the grant")
	}
}
