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
	"github.com/oauth-operator/oauth-operator/tokenserver/grant/granttest"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

func TestACodeIsRedeemedForTokens(t *testing.T) {
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid", "email", "orders:read"))
	if w.Store.Writes() != 0 {
		t.Error("issuing a code wrote something")
	}
	a := w.OK(w.Redeem(c, code))
	if w.Store.Writes() != 1 {
		t.Errorf("redeeming a code made %d writes, want 1", w.Store.Writes())
	}
	if a.String("scope") != "openid email orders:read" || a.String("refresh_token") == "" {
		t.Errorf("the answer is %s", a.Body)
	}
	id := w.Claims(a.String("id_token"))
	half := sha256.Sum256([]byte(a.String("access_token")))
	for name, want := range map[string]any{
		"iss": granttest.Issuer, "sub": granttest.Subject, "aud": "shop.web", "nonce": "n-0S6_WzA2Mj",
		"auth_time": float64(w.Clock.Now().Add(-time.Minute).Unix()), "iat": float64(w.Clock.Now().Unix()),
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
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid", "orders:read"))
	first := w.OK(w.Redeem(c, code))
	second := w.OK(w.Refresh(c, first.String("refresh_token")))
	w.Refused(w.Redeem(c, code), 400, "invalid_grant")
	for _, a := range []granttest.Answer{first, second} {
		if w.Active(a.String("access_token")) {
			t.Error("an access token is active after the replay")
		}
		w.Refused(w.Refresh(c, a.String("refresh_token")), 400, "invalid_grant")
	}
	if g := w.Records()[0]; g.EndReason != storage.EndCodeReuse {
		t.Errorf("the record ended for %q", g.EndReason)
	}
	if !strings.Contains(w.Log.String(), `"reason":"CodeReuse"`) || w.Count("oauth_operator_tokenserver_grants_ended_total", "CodeReuse") != 1 {
		t.Error("the end is neither logged nor counted once")
	}
	w.Refused(w.Redeem(c, code), 400, "invalid_grant")
}

func TestOfFiftyParallelRedemptionsOneSucceeds(t *testing.T) {
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid", "orders:read"))
	answers := make([]granttest.Answer, 50)
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
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
	thief := w.AddClient(granttest.Client("shop.thief"))
	code := w.Code(w.Authorization(c, "openid", "orders:read"))
	w.Refused(w.Redeem(thief, code), 400, "invalid_grant")
	a := w.OK(w.Redeem(c, code))
	w.Refused(w.Redeem(thief, code), 400, "invalid_grant")
	if !w.Active(a.String("access_token")) {
		t.Error("the client's access token has ended")
	}
	w.OK(w.Refresh(c, a.String("refresh_token")))
}

func TestACodeOfTheSameNamesFormerClientIsRefused(t *testing.T) {
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid"))
	w.RemoveClient(c.ID)
	c.UID = "created again"
	w.AddClient(c)
	w.Refused(w.Redeem(c, code), 400, "invalid_grant")
}

func TestRedirectURIMustEqualTheAuthorizationRequests(t *testing.T) {
	w := newWorld(t)
	c := granttest.Client("shop.web")
	c.RedirectURIs = append(c.RedirectURIs, "https://shop.example.com/other")
	w.AddClient(c)
	code := w.Code(w.Authorization(c, "openid"))
	redeem := func(code string, pairs ...string) granttest.Answer {
		return w.Post("/token", c, append([]string{
			"grant_type", "authorization_code", "code", code, "code_verifier", granttest.Verifier}, pairs...)...)
	}
	for _, uri := range []string{
		"https://shop.example.com/other", granttest.Callback + "/", granttest.Callback + "?", "HTTPS://shop.example.com/callback",
		"https%3A%2F%2Fshop.example.com%2Fcallback", "",
	} {
		w.Refused(redeem(code, "redirect_uri", uri), 400, "invalid_grant")
	}
	w.Refused(redeem(code), 400, "invalid_grant")
	w.OK(redeem(code, "redirect_uri", granttest.Callback))
}

func TestRedirectURIMayBeLeftOutOnlyWhereTheRequestLeftItOut(t *testing.T) {
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
	without := w.Authorization(c, "orders:read")
	without.RedirectURISent = false
	w.OK(w.Post("/token", c, "grant_type", "authorization_code", "code", w.Code(without), "code_verifier", granttest.Verifier))
	w.OK(w.Redeem(c, w.Code(without)))
	w.Refused(w.Post("/token", c, "grant_type", "authorization_code", "code", w.Code(without), "code_verifier", granttest.Verifier,
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
		{"the right one", granttest.Challenge, granttest.Verifier, true},
		{"128 characters", challenge(long), long, true},
		{"every character", challenge("abcXYZ019-._~" + long[:30]), "abcXYZ019-._~" + long[:30], true},
		{"another one", granttest.Challenge, strings.Repeat("a", 43), false},
		{"none", granttest.Challenge, "", false},
		{"the challenge itself", granttest.Challenge, granttest.Challenge, false},
		{"without a challenge", "", granttest.Verifier, false},
		{"neither", "", "", true},
		{"42 characters whose hash fits", challenge(long[:42]), long[:42], false},
		{"129 characters whose hash fits", challenge(long + "a"), long + "a", false},
		{"a space whose hash fits", challenge(long[:50] + " "), long[:50] + " ", false},
		{"a plus whose hash fits", challenge(long[:50] + "+"), long[:50] + "+", false},
		{"a slash whose hash fits", challenge(long[:50] + "/"), long[:50] + "/", false},
		{"a letter of another script whose hash fits", challenge(long[:50] + "ä"), long[:50] + "ä", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			c := w.AddClient(granttest.Client("shop.web"))
			authorization := w.Authorization(c, "openid")
			authorization.CodeChallenge = test.challenge
			a := w.Post("/token", c, "grant_type", "authorization_code", "code", w.Code(authorization), "redirect_uri", granttest.Callback,
				"code_verifier", test.verifier)
			if test.ok {
				w.OK(a)
				return
			}
			w.Refused(a, 400, "invalid_grant")
		})
	}
}

func TestAFailedCheckConsumesNothing(t *testing.T) {
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
	other := w.AddClient(granttest.Client("shop.other"))
	code := w.Code(w.Authorization(c, "openid", "orders:read"))
	r := w.Form("/token", c, "grant_type", "authorization_code", "code", code, "redirect_uri", granttest.Callback, "code_verifier", granttest.Verifier)
	r.SetBasicAuth(c.ID, "wrong")
	fails := func() {
		t.Helper()
		w.Refused(w.Do(r), 401, "invalid_client")
		w.Refused(w.Redeem(other, code), 400, "invalid_grant")
		w.Refused(w.Post("/token", c, "grant_type", "authorization_code", "code", code, "redirect_uri", "https://x.example.com", "code_verifier", granttest.Verifier), 400, "invalid_grant")
		w.Refused(w.Post("/token", c, "grant_type", "authorization_code", "code", code, "redirect_uri", granttest.Callback, "code_verifier", strings.Repeat("a", 43)), 400, "invalid_grant")
		w.Refused(w.Redeem(c, code, "resource", "https://unknown.example.com"), 400, "invalid_target")
	}
	fails()
	if w.Store.Writes() != 0 {
		t.Errorf("failed checks made %d writes", w.Store.Writes())
	}
	a := w.OK(w.Redeem(c, code))
	r = w.Form("/token", c, "grant_type", "authorization_code", "code", code, "redirect_uri", granttest.Callback, "code_verifier", granttest.Verifier)
	r.SetBasicAuth(c.ID, "wrong")
	fails()
	if !w.Active(a.String("access_token")) {
		t.Error("a request that failed a check ended the grant")
	}
}

func TestACodeExpires(t *testing.T) {
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
	code, late := w.Code(w.Authorization(c, "openid")), w.Code(w.Authorization(c, "openid"))
	w.Clock.Move(59 * time.Second)
	w.OK(w.Redeem(c, code))
	w.Clock.Move(time.Second)
	w.Refused(w.Redeem(c, late), 400, "invalid_grant")
}

func TestALoweredLifetimeCountsAtOnce(t *testing.T) {
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid"))
	w.ChangeServer(func(s *documents.Server) { s.AuthorizationCodeLifetime = 10 })
	w.Clock.Move(10 * time.Second)
	w.Refused(w.Redeem(c, code), 400, "invalid_grant")
}

func TestACodeOfAnotherProcessIsRefusedWhereTheStoreForgets(t *testing.T) {
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid"))
	w.Grants.Epoch = "of the next process"
	w.Refused(w.Redeem(c, code), 400, "invalid_grant")
	if len(w.Records()) != 0 {
		t.Error("there is a record")
	}
	w.OK(w.Redeem(c, w.Code(w.Authorization(c, "openid"))))
}

// What a code rests on may change before it is redeemed.
func TestACodeFallsWithWhatItRestsOn(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(t *testing.T, w *granttest.World, c documents.Client)
		code   string
		status int
	}{
		{"the password changed", func(_ *testing.T, w *granttest.World, _ documents.Client) {
			u := granttest.User()
			u.Epoch = "epoch-2"
			w.AddUser(u)
		}, "invalid_grant", 400},
		{"the user was created again", func(_ *testing.T, w *granttest.World, _ documents.Client) {
			u := granttest.User()
			w.RemoveUser(u)
			u.UID = "another-uid"
			w.AddUser(u)
		}, "invalid_grant", 400},
		{"the user is gone", func(_ *testing.T, w *granttest.World, _ documents.Client) { w.RemoveUser(granttest.User()) }, "invalid_grant", 400},
		{"the consent was withdrawn", func(_ *testing.T, w *granttest.World, c documents.Client) { w.Withdraw(c.UID) }, "invalid_grant", 400},
		{"the consent was withdrawn, and given again", func(_ *testing.T, w *granttest.World, c documents.Client) {
			w.Withdraw(c.UID)
			w.Consent(w.Authorization(c, "openid", "offline_access"))
		}, "invalid_grant", 400},
		{"the session was ended", func(t *testing.T, w *granttest.World, _ documents.Client) {
			if err := w.Memory.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: "session-1", ExpiresAt: w.Clock.Now().Add(time.Hour)}); err != nil {
				t.Fatal(err)
			}
		}, "invalid_grant", 400},
		{"the redirect URI was removed", func(_ *testing.T, w *granttest.World, c documents.Client) {
			c.RedirectURIs = []string{"https://shop.example.com/other"}
			w.AddClient(c)
		}, "invalid_grant", 400},
		{"the client was suspended", func(_ *testing.T, w *granttest.World, c documents.Client) {
			c.Suspended = true
			w.AddClient(c)
		}, "invalid_client", 401},
		{"the client is gone", func(_ *testing.T, w *granttest.World, c documents.Client) { w.RemoveClient(c.ID) }, "invalid_client", 401},
		{"no rule allows the client", func(_ *testing.T, w *granttest.World, _ documents.Client) {
			w.ChangeServer(func(s *documents.Server) { s.AllowedClients = nil })
		}, "invalid_client", 401},
		{"the grant type was removed", func(_ *testing.T, w *granttest.World, c documents.Client) {
			c.GrantTypes = []string{oauth.GrantClientCredentials}
			w.AddClient(c)
		}, "unauthorized_client", 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			c := w.AddClient(granttest.Client("shop.web"))
			authorization := w.Consent(w.Authorization(c, "openid", "offline_access"))
			w.OK(w.Redeem(c, w.Code(authorization)))
			code := w.Code(authorization)
			before := len(w.Records())
			test.change(t, w, c)
			w.Refused(w.Redeem(c, code), test.status, test.code)
			if got := len(w.Records()); got != before {
				t.Errorf("there are %d records, were %d", got, before)
			}
		})
	}
}

func TestScopesAreCutToWhatIsAllowedNow(t *testing.T) {
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid", "orders:read", "stock:read"))
	w.RemoveResourceServer(granttest.Stock)
	a := w.OK(w.Redeem(c, code))
	if a.String("scope") != "openid orders:read" {
		t.Errorf("scope is %q", a.String("scope"))
	}
	checkAudience(t, w, a, granttest.Orders, granttest.Issuer)
}

func TestTheTokenRequestMayNarrowTheResourcesAndNotWiden(t *testing.T) {
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
	both := w.Authorization(c, "openid", "orders:read", "stock:read")
	both.Resources = []string{granttest.Orders, granttest.Stock}
	a := w.OK(w.Redeem(c, w.Code(both), "resource", granttest.Stock))
	checkAudience(t, w, a, granttest.Stock)
	if a.String("scope") != "openid stock:read" {
		t.Errorf("scope is %q", a.String("scope"))
	}
	a = w.OK(w.Refresh(c, a.String("refresh_token"), "resource", granttest.Orders))
	checkAudience(t, w, a, granttest.Orders)
	a = w.OK(w.Refresh(c, a.String("refresh_token")))
	checkAudience(t, w, a, granttest.Orders, granttest.Stock)

	one := w.Authorization(c, "openid", "orders:read", "stock:read")
	one.Resources = []string{granttest.Orders}
	code := w.Code(one)
	w.Refused(w.Redeem(c, code, "resource", granttest.Stock), 400, "invalid_target")
	w.Refused(w.Redeem(c, code, "resource", granttest.Orders, "resource", granttest.Stock), 400, "invalid_target")
	a = w.OK(w.Redeem(c, code))
	w.Refused(w.Refresh(c, a.String("refresh_token"), "resource", granttest.Stock), 400, "invalid_target")

	none := w.Code(w.Authorization(c, "openid", "orders:read"))
	w.Refused(w.Redeem(c, none, "resource", granttest.Stock), 400, "invalid_target")
	checkAudience(t, w, w.OK(w.Redeem(c, none, "resource", granttest.Orders)), granttest.Orders)
}

func TestEitherSpellingOfAResourceGetsTheAudienceAsRegistered(t *testing.T) {
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
	in := w.Authorization(c, "openid", "orders:read")
	in.Resources = []string{granttest.Orders + "/"}
	a := w.OK(w.Redeem(c, w.Code(in), "resource", granttest.Orders))
	checkAudience(t, w, a, granttest.Orders)
	a = w.OK(w.Refresh(c, a.String("refresh_token"), "resource", granttest.Orders+"/"))
	checkAudience(t, w, a, granttest.Orders)
	a = w.OK(w.Refresh(c, a.String("refresh_token")))
	checkAudience(t, w, a, granttest.Orders)
}

func TestASealedValueOfAnotherKindOrServerIsNoCode(t *testing.T) {
	w := newWorld(t)
	c := w.AddClient(granttest.Client("shop.web"))
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
		w.Refused(w.Redeem(c, sealed), 400, "invalid_grant")
	}
	a := w.OK(w.Redeem(c, code))
	w.Refused(w.Redeem(c, a.String("refresh_token")), 400, "invalid_grant")
	w.Refused(w.Refresh(c, code), 400, "invalid_grant")
	w.Refused(w.Refresh(c, a.String("access_token")), 400, "invalid_grant")

	other := w.Server
	other.Issuer = "https://other.example.com"
	w.Keys.Use(other)
	foreign := w.Code(w.Authorization(c, "openid"))
	w.Keys.Use(w.Server)
	w.Refused(w.Redeem(c, foreign), 400, "invalid_grant")
}

func TestAClientWithoutTheGrantTypeGetsNoRefreshToken(t *testing.T) {
	w := newWorld(t)
	c := granttest.Client("shop.web")
	c.GrantTypes = []string{oauth.GrantAuthorizationCode}
	w.AddClient(c)
	a := w.Begin(c, "openid")
	if a.String("refresh_token") != "" {
		t.Error("there is a refresh token")
	}
	if !w.Active(a.String("access_token")) {
		t.Error("the access token is not active")
	}
	w.Clock.Move(4 * time.Minute)
	if _, err := w.Store.Sweep(t.Context(), w.Clock.Now()); err != nil {
		t.Fatal(err)
	}
	if !w.Active(a.String("access_token")) {
		t.Error("the sweep ended an access token that has not expired")
	}
}

func TestTheClaimsParameterAndTheClientPutClaimsIntoTheIDToken(t *testing.T) {
	w := newWorld(t)
	c := granttest.Client("shop.web")
	c.Scopes = append(c.Scopes, "groups")
	c.IDTokenClaims = []string{"groups", "department", "sub", "iss"}
	w.AddClient(c)
	authorization := w.Authorization(c, "openid", "email", "groups")
	authorization.ClaimsRequest = `{"id_token":{"email":{"essential":true},"name":null,"aud":null}}`
	id := w.Claims(w.OK(w.Redeem(c, w.Code(authorization))).String("id_token"))
	if id["email"] != "alice@example.com" || id["groups"] == nil {
		t.Errorf("claims that were asked for and granted are missing: %v", id)
	}
	if _, has := id["name"]; has {
		t.Error("the ID token has name, whose scope was not granted")
	}
	if id["aud"] != "shop.web" || id["iss"] != granttest.Issuer || id["sub"] != granttest.Subject {
		t.Errorf("claims of the protocol changed: %v", id)
	}
}
