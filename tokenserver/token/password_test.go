package token_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
)

// newPasswordClient returns a client for the password grant.
func newPasswordClient() documents.Client {
	c := servertest.Client("shop.legacy")
	c.GrantTypes, c.RedirectURIs = []string{oauth.GrantPassword, oauth.GrantRefreshToken}, nil
	c.Consent = documents.ConsentRequired // which no password grant asks for
	return c
}

func TestAPasswordBeginsAGrantWithoutASession(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPasswordClient())
	a := w.RequireOK(w.Post("/token", c, "grant_type", "password", "username", "ALICE", "password", servertest.Password, "scope", "openid email orders:read"))
	records := w.StoredGrants()
	if len(records) != 1 || w.Store.Writes() != 1 {
		t.Fatalf("%d records and %d writes, want one of each", len(records), w.Store.Writes())
	}
	if g := records[0]; g.SessionHash != "" || !g.Offline || g.RefreshTokenNumber != 1 || g.Subject != servertest.Subject {
		t.Errorf("the record is %+v", g)
	}
	id := w.Claims(a.String("id_token"))
	if id["sub"] != servertest.Subject || id["aud"] != "shop.legacy" || id["auth_time"] != float64(w.Now().Unix()) {
		t.Errorf("the ID token says %v", id)
	}
	w.RequireOK(w.Refresh(c, a.String("refresh_token")))
}

func TestOnlyAClientThatListsItGetsARefreshTokenForAPassword(t *testing.T) {
	w := newServer(t)
	c := newPasswordClient()
	c.GrantTypes = []string{oauth.GrantPassword}
	w.AddClient(c)
	a := w.RequireOK(w.Post("/token", c, "grant_type", "password", "username", "alice", "password", servertest.Password))
	if a.String("refresh_token") != "" {
		t.Error("there is a refresh token")
	}
	if !w.IsActive(a.String("access_token")) {
		t.Error("the access token is not active")
	}
}

func TestAnUnknownUserIsAnsweredAndCostsAsAKnownOne(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPasswordClient())
	var bodies []string
	for _, username := range []string{"alice", "unknown", "not a\u200bname", strings.Repeat("x", 1000)} {
		before := w.Passwords.CountHashed()
		a := w.Post("/token", c, "grant_type", "password", "username", username, "password", "wrong")
		w.CheckError(a, 400, "invalid_grant")
		bodies = append(bodies, a.Body)
		if work := w.Passwords.CountHashed() - before; work != 1 {
			t.Errorf("%d passwords were hashed for %.20q, want 1", work, username)
		}
	}
	for _, body := range bodies[1:] {
		if body != bodies[0] {
			t.Errorf("an unknown user is answered %s, a known one %s", body, bodies[0])
		}
	}
	if len(w.StoredGrants()) != 0 {
		t.Error("a wrong password left a record")
	}
}

func TestThePasswordOfAPasswordGrantIsOneHoweverAKeyboardWritesIt(t *testing.T) {
	w := newServer(t)
	alice := servertest.User()
	hash, err := password.Hash("cafe\u0301 au lait", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	alice.PasswordHash = hash
	w.AddUser(alice)
	c := w.AddClient(newPasswordClient())
	for _, typed := range []string{"caf\u00e9 au lait", "cafe\u0301\u00a0au\u3000lait"} {
		w.RequireOK(exchangePassword(w, c, "alice", typed))
	}
}

func TestWhiteSpaceAroundAUsernameOfAPasswordGrantIsNoPartOfIt(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPasswordClient())
	w.RequireOK(exchangePassword(w, c, " alice\u00a0", servertest.Password))
}

func TestAPasswordOverAKibibyteIsRefusedUnhashed(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPasswordClient())
	w.CheckError(w.Post("/token", c, "grant_type", "password", "username", "alice", "password", strings.Repeat("x", 1025)), 400, "invalid_grant")
	if work := w.Passwords.CountHashed(); work != 0 {
		t.Errorf("%d passwords were hashed, want none", work)
	}
}

func TestAPasswordGrantNeedsBothParameters(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPasswordClient())
	w.CheckError(w.Post("/token", c, "grant_type", "password", "username", "alice"), 400, "invalid_request")
	w.CheckError(w.Post("/token", c, "grant_type", "password", "password", servertest.Password), 400, "invalid_request")
	w.CheckError(w.Post("/token", c, "grant_type", "password", "username", "alice", "password", ""), 400, "invalid_request")
}

func TestWithoutScopeAPasswordGrantsAllButOpenIDAndOfflineAccess(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPasswordClient())
	a := w.RequireOK(w.Post("/token", c, "grant_type", "password", "username", "alice", "password", servertest.Password))
	if got := a.String("scope"); got != "profile email orders:read orders:write stock:read" {
		t.Errorf("scope is %q", got)
	}
	if a.String("id_token") != "" {
		t.Error("there is an ID token without openid")
	}
}

func TestABuiltInScopeThatAPasswordCannotBringIsDropped(t *testing.T) {
	w := newServer(t)
	c := newPasswordClient()
	ask := func(scope string) servertest.Answer {
		return w.Post("/token", w.AddClient(c), "grant_type", "password", "username", "alice", "password", servertest.Password, "scope", scope)
	}
	if a := w.RequireOK(ask("phone orders:read")); a.String("scope") != "orders:read" {
		t.Errorf("the answer is %s", a.Body)
	}
	if a := w.RequireOK(ask("phone")); a.String("scope") != "" || !strings.Contains(a.Body, `"scope":""`) {
		t.Errorf("with nothing left, the answer is %s", a.Body)
	}
	w.CheckError(ask("orders:read nothing"), 400, "invalid_scope")
	w.CheckError(ask("openid nothing"), 400, "invalid_scope")
	if a := w.RequireOK(ask("offline_access openid")); a.String("scope") != "offline_access openid" || a.String("refresh_token") == "" {
		t.Errorf("the answer is %s", a.Body)
	}
	c.GrantTypes = []string{oauth.GrantPassword}
	if a := w.RequireOK(ask("offline_access openid")); a.String("scope") != "openid" || a.String("refresh_token") != "" {
		t.Errorf("where no refresh token can follow, the answer is %s", a.Body)
	}
}

func TestAPasswordGrantIsRefusedToUsersThatTheRuleOfTheClientLeavesOut(t *testing.T) {
	for what, change := range map[string]func(*documents.ClientRule){
		"other groups":    func(r *documents.ClientRule) { r.Groups = []string{"ops", "dev"} },
		"other providers": func(r *documents.ClientRule) { r.IdentityProviders = []string{"acme"} },
	} {
		w := newServer(t)
		c := w.AddClient(newPasswordClient())
		w.ChangeDocument(func(s *documents.Server) { change(&s.AllowedClients[0]) })
		w.CheckError(exchangePassword(w, c, "alice", servertest.Password), 400, "invalid_grant")
		if len(w.StoredGrants()) != 0 {
			t.Errorf("%s: there is a record", what)
		}
		w.ChangeDocument(func(s *documents.Server) {
			s.AllowedClients[0].Groups, s.AllowedClients[0].IdentityProviders = []string{"admins"}, []string{"acme", documents.LocalProvider}
		})
		w.RequireOK(exchangePassword(w, c, "alice", servertest.Password))
	}
}

// A client that changes how it authenticates is accepted by one rule as it is now, and by another
// as it was.
func TestTheListsAboutUsersAreThoseOfTheRuleThatAcceptsTheClientAsItAuthenticated(t *testing.T) {
	w := newServer(t)
	w.ChangeDocument(func(s *documents.Server) {
		before := s.AllowedClients[0]
		before.Name, before.TokenEndpointAuthMethods = "before", []string{oauth.AuthMethodSecretBasic}
		now := before
		now.Name, now.TokenEndpointAuthMethods, now.Groups = "now", []string{oauth.AuthMethodSecretPost}, []string{"ops"}
		s.AllowedClients = []documents.ClientRule{before, now}
	})
	basic := newPasswordClient()
	changed := basic
	changed.AuthMethod = oauth.AuthMethodSecretPost
	changed.PreviousAuth = &documents.PreviousAuth{Method: oauth.AuthMethodSecretBasic, Until: w.Now().Add(time.Hour).Unix()}
	w.AddClient(changed)
	w.RequireOK(exchangePassword(w, basic, "alice", servertest.Password))
	w.CheckError(exchangePassword(w, changed, "alice", servertest.Password), 400, "invalid_grant")
}
