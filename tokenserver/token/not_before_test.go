package token_test

import (
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
)

// voidings set tokensNotBefore of a server, of the client shop.web and of alice.
func voidings(w *servertest.Server, c documents.Client) map[string]func(int64) {
	return map[string]func(int64){
		"server": func(at int64) { w.ChangeDocument(func(s *documents.Server) { s.TokensNotBefore = at }) },
		"client": func(at int64) { c.TokensNotBefore = at; w.AddClient(c) },
		"user":   func(at int64) { u := servertest.User(); u.TokensNotBefore = at; w.AddUser(u) },
	}
}

func TestWhatWasIssuedInTheSecondOfTokensNotBeforeOrEarlierIsVoidAndNothingElse(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	for name, set := range voidings(w, c) {
		begun := w.IssueTokens(c, "openid", "orders:read")
		code := w.Code(w.Authorization(c, "openid", "orders:read"))
		writes := w.Store.Writes()
		set(w.Now().Unix())
		if w.IsActive(begun.String("access_token")) {
			t.Errorf("%s: an access token of this second is active", name)
		}
		w.Advance(2 * time.Second)
		w.CheckError(w.Redeem(c, code), 400, "invalid_grant")
		w.CheckError(w.Refresh(c, begun.String("refresh_token")), 400, "invalid_grant")
		if w.Store.Writes() != writes {
			t.Errorf("%s: there were %d writes", name, w.Store.Writes()-writes)
		}
		login := w.Authorization(c, "openid", "orders:read")
		login.AuthTime = w.Now()
		later := w.RequireOK(w.Redeem(c, w.Code(login)))
		if !w.IsActive(later.String("access_token")) {
			t.Errorf("%s: a token of two seconds later is not active", name)
		}
		w.RequireOK(w.Refresh(c, later.String("refresh_token")))

		set(0)
		if !w.IsActive(begun.String("access_token")) {
			t.Errorf("%s: a lower time does not make the token good again", name)
		}
		w.RequireOK(w.Refresh(c, begun.String("refresh_token")))
	}
}

func TestARefreshTokenOfAnOlderAuthorizationIsVoidThoughItWasRotatedLater(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPublicClient())
	for name, set := range voidings(w, c) {
		begun := w.IssueTokens(c, "openid", "orders:read")
		authorized := w.Now().Unix()
		w.Advance(time.Minute)
		rotated := w.RequireOK(w.Refresh(c, begun.String("refresh_token")))
		set(authorized + 10)
		w.CheckError(w.Refresh(c, rotated.String("refresh_token")), 400, "invalid_grant")
		if w.IsActive(rotated.String("access_token")) {
			t.Errorf("%s: an access token of an authorization that is void is active", name)
		}
		set(0)
	}
}

// The code is redeemed before the server knows of the time, and is issued before it.
func TestAGrantIsAsOldAsItsCode(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid", "orders:read"))
	issued := w.Now().Unix()
	w.Advance(20 * time.Second)
	tokens := w.RequireOK(w.Redeem(c, code))
	c.TokensNotBefore = issued + 10
	w.AddClient(c)
	w.CheckError(w.Refresh(c, tokens.String("refresh_token")), 400, "invalid_grant")
	if w.IsActive(tokens.String("access_token")) {
		t.Error("the access token is active")
	}
}

func TestATokensNotBeforeInTheFutureVoidsNothingUntilItComes(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	for name, set := range voidings(w, c) {
		begun := w.IssueTokens(c, "openid", "orders:read")
		set(w.Now().AddDate(1, 0, 0).Unix())
		if !w.IsActive(begun.String("access_token")) {
			t.Errorf("%s: a year ahead voids", name)
		}
		w.RequireOK(w.Refresh(c, begun.String("refresh_token")))
		w.IssueTokens(c, "openid")
		set(w.Now().Add(10 * time.Second).Unix())
		w.Advance(9 * time.Second)
		if !w.IsActive(begun.String("access_token")) {
			t.Errorf("%s: it voids a second too early", name)
		}
		w.Advance(time.Second)
		if w.IsActive(begun.String("access_token")) {
			t.Errorf("%s: it voids nothing when it comes", name)
		}
		set(0)
		w.Advance(time.Second)
	}
}

func TestInTheSecondOfTokensNotBeforeAClientIsToldToComeAgain(t *testing.T) {
	w := newServer(t)
	c := servertest.Client("shop.service")
	c.GrantTypes, c.RedirectURIs, c.Scopes = []string{oauth.GrantClientCredentials}, nil, []string{"orders:read"}
	c.TokensNotBefore = w.Now().Unix()
	w.AddClient(c)
	if a := w.Post("/token", c, "grant_type", "client_credentials"); a.Status != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	w.Advance(time.Second)
	token := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials")).String("access_token")
	if !w.IsActive(token) {
		t.Error("the next second's token is not active")
	}
	c.TokensNotBefore = w.Now().Unix()
	w.AddClient(c)
	if w.IsActive(token) {
		t.Error("a client's own token is active")
	}
}

func TestInTheSecondOfAUsersTokensNotBeforeARightPasswordIsNotCalledWrong(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPasswordClient())
	user := servertest.User()
	user.TokensNotBefore = w.Now().Unix()
	w.AddUser(user)
	request := []string{"grant_type", "password", "username", "alice", "scope", "orders:read", "password", servertest.Password}
	if a := w.Post("/token", c, request...); a.Status != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	w.Advance(time.Second)
	w.RequireOK(w.Post("/token", c, request...))
}

func TestASuspendedUserIsAsUnknownAndComesBack(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPasswordClient())
	sign := func(name, secret string) servertest.Answer {
		return w.Post("/token", c, "grant_type", "password", "username", name, "password", secret, "scope", "orders:read")
	}
	begun := w.RequireOK(sign("alice", servertest.Password))
	u := servertest.User()
	u.Suspended = true
	w.AddUser(u)
	unknown, wrong, right := sign("mallory", "x"), sign("alice", "x"), sign("alice", servertest.Password)
	if right.Status != 400 || right.Body != unknown.Body || right.Body != wrong.Body {
		t.Errorf("the right password: %d %s; an unknown user: %s; a wrong password: %s", right.Status, right.Body, unknown.Body, wrong.Body)
	}
	w.CheckError(w.Refresh(c, begun.String("refresh_token")), 400, "invalid_grant")
	if w.IsActive(begun.String("access_token")) {
		t.Error("the token is active")
	}
	w.AddUser(servertest.User())
	if !w.IsActive(begun.String("access_token")) {
		t.Error("the token is not active again")
	}
	w.RequireOK(w.Refresh(c, begun.String("refresh_token")))
	w.RequireOK(sign("alice", servertest.Password))
}

func TestAtLegacyUntilPasswordAndItsRefreshesStopAndTheRestGoesOn(t *testing.T) {
	w := newServer(t)
	c := servertest.Client("shop.legacy")
	c.GrantTypes = append(c.GrantTypes, oauth.GrantPassword, oauth.GrantClientCredentials)
	w.AddClient(c)
	password := func() servertest.Answer {
		return w.Post("/token", c, "grant_type", "password", "username", "alice", "password", servertest.Password, "scope", "orders:read")
	}
	w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].LegacyUntil = w.Now().Add(10 * time.Second).Unix() })
	old, byCode := w.RequireOK(password()), w.IssueTokens(c, "openid", "orders:read")
	w.Advance(9 * time.Second)
	w.RequireOK(password())
	w.Advance(time.Second)
	a := password()
	w.CheckError(a, 400, "unauthorized_client")
	if strings.Contains(a.Body, servertest.Password) {
		t.Error(a.Body)
	}
	w.CheckError(w.Refresh(c, old.String("refresh_token")), 400, "invalid_grant")
	w.RequireOK(w.Refresh(c, byCode.String("refresh_token")))
	w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials", "scope", "orders:read"))
	w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].LegacyUntil = w.Now().Add(time.Hour).Unix() })
	w.RequireOK(w.Refresh(c, old.String("refresh_token")))
}
