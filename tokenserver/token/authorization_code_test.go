package token_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

func TestACodeIsRedeemedForTokens(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid", "email", "orders:read"))
	if w.Store.Writes() != 0 {
		t.Error("issuing a code wrote something")
	}
	a := w.RequireOK(w.Redeem(c, code))
	if w.Store.Writes() != 1 {
		t.Errorf("redeeming a code made %d writes, want 1", w.Store.Writes())
	}
	if a.String("scope") != "openid email orders:read" || a.String("refresh_token") == "" {
		t.Errorf("the answer is %s", a.Body)
	}
	id := w.Claims(a.String("id_token"))
	half := sha256.Sum256([]byte(a.String("access_token")))
	for name, want := range map[string]any{
		"iss": servertest.Issuer, "sub": servertest.Subject, "aud": "shop.web", "nonce": "n-0S6_WzA2Mj",
		"auth_time": float64(w.Now().Add(-time.Minute).Unix()), "iat": float64(w.Now().Unix()),
		"at_hash": base64.RawURLEncoding.EncodeToString(half[:16]),
	} {
		if id[name] != want {
			t.Errorf("%s in the ID token is %v, want %v", name, id[name], want)
		}
	}
	if header := w.Header(a.String("id_token")); header["alg"] != "RS256" {
		t.Errorf("the ID token is signed with %v", header["alg"])
	}
	if _, has := id["email"]; has {
		t.Error("the ID token has a claim that belongs to the UserInfo endpoint")
	}
}

func TestACodeIsRedeemedOnlyOnceAndAReplayEndsEverything(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid", "orders:read"))
	first := w.RequireOK(w.Redeem(c, code))
	second := w.RequireOK(w.Refresh(c, first.String("refresh_token")))
	w.CheckError(w.Redeem(c, code), 400, "invalid_grant")
	for _, a := range []servertest.Answer{first, second} {
		if w.IsActive(a.String("access_token")) {
			t.Error("an access token is active after the replay")
		}
		w.CheckError(w.Refresh(c, a.String("refresh_token")), 400, "invalid_grant")
	}
	if g := w.StoredGrants()[0]; g.EndReason != storage.EndCodeReuse {
		t.Errorf("the record ended for %q", g.EndReason)
	}
	if !strings.Contains(w.Log.String(), `"reason":"CodeReuse"`) || w.CounterValue("oauth_operator_tokenserver_grants_ended_total", "CodeReuse") != 1 {
		t.Error("the end is neither logged nor counted once")
	}
	w.CheckError(w.Redeem(c, code), 400, "invalid_grant")
}

func TestOfFiftyParallelRedemptionsOneSucceeds(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid", "orders:read"))
	answers := make([]servertest.Answer, 50)
	var group sync.WaitGroup
	for i := range answers {
		group.Go(func() { answers[i] = w.Redeem(c, code) })
	}
	group.Wait()
	won := 0
	for _, a := range answers {
		switch {
		case a.Status == http.StatusOK:
			won++
		case a.Status != http.StatusBadRequest || a.ErrorCode() != "invalid_grant":
			t.Errorf("a loser is answered %d %s", a.Status, a.Body)
		}
	}
	if won != 1 {
		t.Errorf("%d of 50 succeeded, want 1", won)
	}
}

func TestAnotherClientsReplayHurtsNobody(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	thief := w.AddClient(servertest.Client("shop.thief"))
	code := w.Code(w.Authorization(c, "openid", "orders:read"))
	w.CheckError(w.Redeem(thief, code), 400, "invalid_grant")
	a := w.RequireOK(w.Redeem(c, code))
	w.CheckError(w.Redeem(thief, code), 400, "invalid_grant")
	if !w.IsActive(a.String("access_token")) {
		t.Error("the client's access token has ended")
	}
	w.RequireOK(w.Refresh(c, a.String("refresh_token")))
}

func TestACodeOfTheSameNamesFormerClientIsRefused(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid"))
	w.RemoveClient(c.ID)
	c.UID = "created again"
	w.AddClient(c)
	w.CheckError(w.Redeem(c, code), 400, "invalid_grant")
}

func TestRedirectURIMustEqualTheAuthorizationRequests(t *testing.T) {
	w := newServer(t)
	c := servertest.Client("shop.web")
	c.RedirectURIs = append(c.RedirectURIs, "https://shop.example.com/other")
	w.AddClient(c)
	code := w.Code(w.Authorization(c, "openid"))
	redeem := func(code string, pairs ...string) servertest.Answer {
		return w.Post("/token", c, append([]string{
			"grant_type", "authorization_code", "code", code, "code_verifier", servertest.Verifier}, pairs...)...)
	}
	for _, uri := range []string{
		"https://shop.example.com/other", servertest.Callback + "/", servertest.Callback + "?", "HTTPS://shop.example.com/callback",
		"https%3A%2F%2Fshop.example.com%2Fcallback", "",
	} {
		w.CheckError(redeem(code, "redirect_uri", uri), 400, "invalid_grant")
	}
	w.CheckError(redeem(code), 400, "invalid_grant")
	w.RequireOK(redeem(code, "redirect_uri", servertest.Callback))
}

func TestRedirectURIMayBeLeftOutOnlyWhereTheRequestLeftItOut(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	without := w.Authorization(c, "orders:read")
	without.RedirectURISent = false
	w.RequireOK(w.Post("/token", c, "grant_type", "authorization_code", "code", w.Code(without), "code_verifier", servertest.Verifier))
	w.RequireOK(w.Redeem(c, w.Code(without)))
	w.CheckError(w.Post("/token", c, "grant_type", "authorization_code", "code", w.Code(without), "code_verifier", servertest.Verifier,
		"redirect_uri", "https://shop.example.com/other"), 400, "invalid_grant")
}

func TestTheVerifierMustFitTheChallenge(t *testing.T) {
	challenge := func(verifier string) string {
		sum := sha256.Sum256([]byte(verifier))
		return base64.RawURLEncoding.EncodeToString(sum[:])
	}
	long := strings.Repeat("a", 128)
	for _, test := range []struct {
		name, challenge, verifier string
		ok                        bool
	}{
		{"the right one", servertest.Challenge, servertest.Verifier, true},
		{"128 characters", challenge(long), long, true},
		{"every character", challenge("abcXYZ019-._~" + long[:30]), "abcXYZ019-._~" + long[:30], true},
		{"another one", servertest.Challenge, strings.Repeat("a", 43), false},
		{"none", servertest.Challenge, "", false},
		{"the challenge itself", servertest.Challenge, servertest.Challenge, false},
		{"without a challenge", "", servertest.Verifier, false},
		{"neither", "", "", true},
		{"42 characters whose hash fits", challenge(long[:42]), long[:42], false},
		{"129 characters whose hash fits", challenge(long + "a"), long + "a", false},
		{"a space whose hash fits", challenge(long[:50] + " "), long[:50] + " ", false},
		{"a plus whose hash fits", challenge(long[:50] + "+"), long[:50] + "+", false},
		{"a slash whose hash fits", challenge(long[:50] + "/"), long[:50] + "/", false},
		{"a letter of another script whose hash fits", challenge(long[:50] + "ä"), long[:50] + "ä", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newServer(t)
			c := w.AddClient(servertest.Client("shop.web"))
			authorization := w.Authorization(c, "openid")
			authorization.CodeChallenge = test.challenge
			a := w.Post("/token", c, "grant_type", "authorization_code", "code", w.Code(authorization), "redirect_uri", servertest.Callback,
				"code_verifier", test.verifier)
			if test.ok {
				w.RequireOK(a)
				return
			}
			w.CheckError(a, 400, "invalid_grant")
		})
	}
}

func TestAFailedCheckConsumesNothing(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	other := w.AddClient(servertest.Client("shop.other"))
	code := w.Code(w.Authorization(c, "openid", "orders:read"))
	r := w.Form("/token", c, "grant_type", "authorization_code", "code", code, "redirect_uri", servertest.Callback, "code_verifier", servertest.Verifier)
	r.SetBasicAuth(c.ID, "wrong")
	fails := func() {
		t.Helper()
		w.CheckError(w.Do(r), 401, "invalid_client")
		w.CheckError(w.Redeem(other, code), 400, "invalid_grant")
		w.CheckError(w.Post("/token", c, "grant_type", "authorization_code", "code", code, "redirect_uri", "https://x.example.com", "code_verifier", servertest.Verifier), 400, "invalid_grant")
		w.CheckError(w.Post("/token", c, "grant_type", "authorization_code", "code", code, "redirect_uri", servertest.Callback, "code_verifier", strings.Repeat("a", 43)), 400, "invalid_grant")
		w.CheckError(w.Redeem(c, code, "resource", "https://unknown.example.com"), 400, "invalid_target")
	}
	fails()
	if w.Store.Writes() != 0 {
		t.Errorf("failed checks made %d writes", w.Store.Writes())
	}
	a := w.RequireOK(w.Redeem(c, code))
	r = w.Form("/token", c, "grant_type", "authorization_code", "code", code, "redirect_uri", servertest.Callback, "code_verifier", servertest.Verifier)
	r.SetBasicAuth(c.ID, "wrong")
	fails()
	if !w.IsActive(a.String("access_token")) {
		t.Error("a request that failed a check ended the grant")
	}
}

func TestACodeExpires(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	code, late := w.Code(w.Authorization(c, "openid")), w.Code(w.Authorization(c, "openid"))
	w.Advance(59 * time.Second)
	w.RequireOK(w.Redeem(c, code))
	w.Advance(time.Second)
	w.CheckError(w.Redeem(c, late), 400, "invalid_grant")
}

func TestALoweredLifetimeCountsAtOnce(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid"))
	w.ChangeDocument(func(s *documents.Server) { s.AuthorizationCodeLifetime = 10 })
	w.Advance(10 * time.Second)
	w.CheckError(w.Redeem(c, code), 400, "invalid_grant")
}

func TestACodeOfAnotherProcessIsRefusedWhereTheStoreForgets(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid"))
	w.Grants.StoreID = "of the next process"
	w.CheckError(w.Redeem(c, code), 400, "invalid_grant")
	if len(w.StoredGrants()) != 0 {
		t.Error("there is a record")
	}
	w.RequireOK(w.Redeem(c, w.Code(w.Authorization(c, "openid"))))
}

// The preconditions of a code may change before it is redeemed.
func TestACodeEndsWithItsPreconditions(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(t *testing.T, w *servertest.Server, c documents.Client)
		code   string
		status int
	}{
		{"the password changed", func(_ *testing.T, w *servertest.Server, _ documents.Client) {
			u := servertest.User()
			u.Epoch = "epoch-2"
			w.AddUser(u)
		}, "invalid_grant", 400},
		{"the user was created again", func(_ *testing.T, w *servertest.Server, _ documents.Client) {
			u := servertest.User()
			w.RemoveUser(u)
			u.UID = "another-uid"
			w.AddUser(u)
		}, "invalid_grant", 400},
		{"the user is gone", func(_ *testing.T, w *servertest.Server, _ documents.Client) { w.RemoveUser(servertest.User()) }, "invalid_grant", 400},
		{"the user was suspended", func(_ *testing.T, w *servertest.Server, _ documents.Client) {
			u := servertest.User()
			u.Suspended = true
			w.AddUser(u)
		}, "invalid_grant", 400},
		{"the client is for users of other groups", func(_ *testing.T, w *servertest.Server, _ documents.Client) {
			w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].Groups = []string{"ops", "dev"} })
		}, "invalid_grant", 400},
		{"the client is for users of other providers", func(_ *testing.T, w *servertest.Server, _ documents.Client) {
			w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].IdentityProviders = []string{"acme"} })
		}, "invalid_grant", 400},
		{"the consent was withdrawn", func(_ *testing.T, w *servertest.Server, c documents.Client) { w.WithdrawConsent(c.UID) }, "invalid_grant", 400},
		{"the consent was withdrawn, and given again", func(_ *testing.T, w *servertest.Server, c documents.Client) {
			w.WithdrawConsent(c.UID)
			w.Consent(w.Authorization(c, "openid", "offline_access"))
		}, "invalid_grant", 400},
		{"the session was ended", func(t *testing.T, w *servertest.Server, _ documents.Client) {
			if err := w.Memory.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: "session-1", ExpiresAt: w.Now().Add(time.Hour)}); err != nil {
				t.Fatal(err)
			}
		}, "invalid_grant", 400},
		{"the redirect URI was removed", func(_ *testing.T, w *servertest.Server, c documents.Client) {
			c.RedirectURIs = []string{"https://shop.example.com/other"}
			w.AddClient(c)
		}, "invalid_grant", 400},
		{"the client was suspended", func(_ *testing.T, w *servertest.Server, c documents.Client) {
			c.Suspended = true
			w.AddClient(c)
		}, "invalid_client", 401},
		{"the client is gone", func(_ *testing.T, w *servertest.Server, c documents.Client) { w.RemoveClient(c.ID) }, "invalid_client", 401},
		{"no rule allows the client", func(_ *testing.T, w *servertest.Server, _ documents.Client) {
			w.ChangeDocument(func(s *documents.Server) { s.AllowedClients = nil })
		}, "invalid_client", 401},
		{"the grant type was removed", func(_ *testing.T, w *servertest.Server, c documents.Client) {
			c.GrantTypes = []string{oauth.GrantClientCredentials}
			w.AddClient(c)
		}, "unauthorized_client", 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newServer(t)
			c := w.AddClient(servertest.Client("shop.web"))
			authorization := w.Consent(w.Authorization(c, "openid", "offline_access"))
			w.RequireOK(w.Redeem(c, w.Code(authorization)))
			code := w.Code(authorization)
			before := len(w.StoredGrants())
			test.change(t, w, c)
			w.CheckError(w.Redeem(c, code), test.status, test.code)
			if got := len(w.StoredGrants()); got != before {
				t.Errorf("there are %d records, were %d", got, before)
			}
		})
	}
}

func TestScopesAreCutToWhatIsAllowedNow(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid", "orders:read", "stock:read"))
	w.RemoveResourceServer(servertest.Stock)
	a := w.RequireOK(w.Redeem(c, code))
	if a.String("scope") != "openid orders:read" {
		t.Errorf("scope is %q", a.String("scope"))
	}
	checkAudience(t, w, a, servertest.Orders, servertest.Issuer)
}

func TestTheTokenRequestMayNarrowTheResourcesAndNotWiden(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	both := w.Authorization(c, "openid", "orders:read", "stock:read")
	both.Resources = []string{servertest.Orders, servertest.Stock}
	a := w.RequireOK(w.Redeem(c, w.Code(both), "resource", servertest.Stock))
	checkAudience(t, w, a, servertest.Stock)
	if a.String("scope") != "openid stock:read" {
		t.Errorf("scope is %q", a.String("scope"))
	}
	a = w.RequireOK(w.Refresh(c, a.String("refresh_token"), "resource", servertest.Orders))
	checkAudience(t, w, a, servertest.Orders)
	a = w.RequireOK(w.Refresh(c, a.String("refresh_token")))
	checkAudience(t, w, a, servertest.Orders, servertest.Stock)

	one := w.Authorization(c, "openid", "orders:read", "stock:read")
	one.Resources = []string{servertest.Orders}
	code := w.Code(one)
	w.CheckError(w.Redeem(c, code, "resource", servertest.Stock), 400, "invalid_target")
	w.CheckError(w.Redeem(c, code, "resource", servertest.Orders, "resource", servertest.Stock), 400, "invalid_target")
	a = w.RequireOK(w.Redeem(c, code))
	w.CheckError(w.Refresh(c, a.String("refresh_token"), "resource", servertest.Stock), 400, "invalid_target")

	none := w.Code(w.Authorization(c, "openid", "orders:read"))
	w.CheckError(w.Redeem(c, none, "resource", servertest.Stock), 400, "invalid_target")
	checkAudience(t, w, w.RequireOK(w.Redeem(c, none, "resource", servertest.Orders)), servertest.Orders)
}

func TestEitherSpellingOfAResourceGetsTheAudienceAsRegistered(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	in := w.Authorization(c, "openid", "orders:read")
	in.Resources = []string{servertest.Orders + "/"}
	a := w.RequireOK(w.Redeem(c, w.Code(in), "resource", servertest.Orders))
	checkAudience(t, w, a, servertest.Orders)
	a = w.RequireOK(w.Refresh(c, a.String("refresh_token"), "resource", servertest.Orders+"/"))
	checkAudience(t, w, a, servertest.Orders)
	a = w.RequireOK(w.Refresh(c, a.String("refresh_token")))
	checkAudience(t, w, a, servertest.Orders)
}

func TestASealedValueOfAnotherKindOrServerIsNoCode(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid"))
	plain, err := w.Keys.Open(keys.PurposeCode, code)
	if err != nil {
		t.Fatal(err)
	}
	for _, purpose := range []keys.Purpose{keys.PurposeFlow, keys.PurposePost, keys.PurposeBrowser, keys.PurposeSession, keys.PurposeRefresh, keys.PurposeTokenID} {
		sealed, err := w.Keys.Seal(purpose, plain)
		if err != nil {
			t.Fatal(err)
		}
		w.CheckError(w.Redeem(c, sealed), 400, "invalid_grant")
	}
	a := w.RequireOK(w.Redeem(c, code))
	w.CheckError(w.Redeem(c, a.String("refresh_token")), 400, "invalid_grant")
	w.CheckError(w.Refresh(c, code), 400, "invalid_grant")
	w.CheckError(w.Refresh(c, a.String("access_token")), 400, "invalid_grant")

	other := w.Document
	other.Issuer = "https://other.example.com"
	w.Keys.SetDocument(other)
	foreign := w.Code(w.Authorization(c, "openid"))
	w.Keys.SetDocument(w.Document)
	w.CheckError(w.Redeem(c, foreign), 400, "invalid_grant")
}

func TestAClientWithoutTheGrantTypeGetsNoRefreshToken(t *testing.T) {
	w := newServer(t)
	c := servertest.Client("shop.web")
	c.GrantTypes = []string{oauth.GrantAuthorizationCode}
	w.AddClient(c)
	a := w.IssueTokens(c, "openid")
	if a.String("refresh_token") != "" {
		t.Error("there is a refresh token")
	}
	if !w.IsActive(a.String("access_token")) {
		t.Error("the access token is not active")
	}
	w.Advance(4 * time.Minute)
	if _, err := w.Store.Sweep(t.Context(), w.Now()); err != nil {
		t.Fatal(err)
	}
	if !w.IsActive(a.String("access_token")) {
		t.Error("the sweep ended an access token that has not expired")
	}
}

func TestTheClaimsParameterAndTheClientPutClaimsIntoTheIDToken(t *testing.T) {
	w := newServer(t)
	c := servertest.Client("shop.web")
	c.Scopes = append(c.Scopes, "groups")
	c.IDTokenClaims = []string{"groups", "department", "sub", "iss"}
	w.AddClient(c)
	authorization := w.Authorization(c, "openid", "email", "groups")
	authorization.ClaimsRequest = `{"id_token":{"email":{"essential":true},"name":null,"aud":null}}`
	id := w.Claims(w.RequireOK(w.Redeem(c, w.Code(authorization))).String("id_token"))
	if id["email"] != "alice@example.com" || id["groups"] == nil {
		t.Errorf("claims that were asked for and granted are missing: %v", id)
	}
	if _, has := id["name"]; has {
		t.Error("the ID token has name, whose scope was not granted")
	}
	if id["aud"] != "shop.web" || id["iss"] != servertest.Issuer || id["sub"] != servertest.Subject {
		t.Errorf("claims of the protocol changed: %v", id)
	}
}
