package token_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// newPublicClient returns a public client.
func newPublicClient() documents.Client { return servertest.Public(servertest.Client("shop.spa")) }

func TestARefreshTokenIsRotated(t *testing.T) {
	for _, c := range []documents.Client{servertest.Client("shop.web"), newPublicClient()} {
		w := newServer(t)
		w.AddClient(c)
		first := w.IssueTokens(c, "openid", "orders:read").String("refresh_token")
		second := w.RequireOK(w.Refresh(c, first)).String("refresh_token")
		third := w.RequireOK(w.Refresh(c, second)).String("refresh_token")
		if first == second || second == third || third == "" {
			t.Error("a refresh token stayed the same")
		}
		if w.Store.Calls("UpdateGrant") != 2 {
			t.Errorf("two refreshes made %d writes", w.Store.Calls("UpdateGrant"))
		}
	}
}

func TestARepetitionWithinTheGraceGetsTheSameSuccessor(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPublicClient())
	first := w.IssueTokens(c, "openid", "orders:read", "stock:read").String("refresh_token")
	w.Advance(time.Hour)
	second := w.RequireOK(w.Refresh(c, first))
	w.Advance(30 * time.Second)
	again := w.RequireOK(w.Refresh(c, first, "scope", "orders:read"))
	if again.String("refresh_token") != second.String("refresh_token") {
		t.Error("the repetition got another refresh token")
	}
	if again.String("access_token") == second.String("access_token") || again.String("scope") != "orders:read" {
		t.Errorf("the repetition got no fresh access token for what it asked: %s", again.Body)
	}
	// The grace period began when the token was replaced, and a repetition does not extend it.
	w.Advance(29 * time.Second)
	w.RequireOK(w.Refresh(c, first))
	w.Advance(time.Second)
	w.CheckError(w.Refresh(c, first), 400, "invalid_grant")
}

func TestReuseAfterTheGraceEndsTheGrant(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPublicClient())
	begun := w.IssueTokens(c, "openid", "orders:read")
	first := begun.String("refresh_token")
	second := w.RequireOK(w.Refresh(c, first))
	w.Advance(time.Minute)
	newest := w.RequireOK(w.Refresh(c, second.String("refresh_token")))
	w.CheckError(w.Refresh(c, first), 400, "invalid_grant")
	for _, a := range []servertest.Answer{begun, second, newest} {
		if w.IsActive(a.String("access_token")) {
			t.Error("an access token of the grant is active")
		}
	}
	w.CheckError(w.Refresh(c, newest.String("refresh_token")), 400, "invalid_grant")
	if got := w.StoredGrants()[0].EndReason; got != storage.EndRefreshTokenReuse {
		t.Errorf("the grant ended for %q", got)
	}
	if !strings.Contains(w.Log.String(), `"reason":"RefreshTokenReuse"`) || w.CounterValue("oauth_operator_tokenserver_grants_ended_total", "RefreshTokenReuse") != 1 {
		t.Error("the reuse is neither logged nor counted once")
	}
}

func TestReuseIsSeenHoweverOldTheTokenIs(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPublicClient())
	first := w.IssueTokens(c, "openid", "offline_access").String("refresh_token")
	current := first
	for range 50 {
		current = w.RequireOK(w.Refresh(c, current)).String("refresh_token")
		w.Advance(24 * time.Hour)
		if _, err := w.Store.Sweep(t.Context(), w.Now()); err != nil {
			t.Fatal(err)
		}
	}
	w.CheckError(w.Refresh(c, first), 400, "invalid_grant")
	w.CheckError(w.Refresh(c, current), 400, "invalid_grant")
	if !strings.Contains(w.Log.String(), `"reason":"RefreshTokenReuse"`) {
		t.Error("the reuse was not seen")
	}
}

func TestATokenTwoGenerationsOldIsReuseEvenWithinTheGrace(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPublicClient())
	first := w.IssueTokens(c, "openid").String("refresh_token")
	second := w.RequireOK(w.Refresh(c, first)).String("refresh_token")
	third := w.RequireOK(w.Refresh(c, second)).String("refresh_token")
	w.CheckError(w.Refresh(c, first), 400, "invalid_grant")
	w.CheckError(w.Refresh(c, third), 400, "invalid_grant")
}

func TestParallelRefreshesLeaveOneRefreshToken(t *testing.T) {
	for _, watched := range []bool{false, true} {
		w := newServer(t)
		c := w.AddClient(newPublicClient())
		first := w.IssueTokens(c, "openid").String("refresh_token")
		if watched {
			w.UseCachedReads(w.Store)
		}
		answers := make([]servertest.Answer, 50)
		var group sync.WaitGroup
		for i := range answers {
			group.Go(func() { answers[i] = w.Refresh(c, first) })
		}
		group.Wait()
		left := map[string]bool{}
		for _, a := range answers {
			left[w.RequireOK(a).String("refresh_token")] = true
		}
		if len(left) != 1 {
			t.Errorf("50 parallel refreshes left %d refresh tokens", len(left))
		}
		if g := w.StoredGrants()[0]; g.RefreshTokenNumber != 2 {
			t.Errorf("the refresh token has the number %d, want 2", g.RefreshTokenNumber)
		}
	}
}

func TestWithoutGraceLosersOfARaceAreRefusedAndNeverAServerError(t *testing.T) {
	for _, watched := range []bool{false, true} {
		w := newServer(t)
		w.ChangeDocument(disableGracePeriod)
		c := w.AddClient(newPublicClient())
		first := w.IssueTokens(c, "openid").String("refresh_token")
		if watched {
			w.UseCachedReads(w.Store)
		}
		answers := make([]servertest.Answer, 50)
		var group sync.WaitGroup
		for i := range answers {
			group.Go(func() { answers[i] = w.Refresh(c, first) })
		}
		group.Wait()
		won := 0
		for _, a := range answers {
			if a.Status == http.StatusOK {
				won++
				continue
			}
			w.CheckError(a, 400, "invalid_grant")
		}
		if won != 1 {
			t.Errorf("%d of 50 won, want 1", won)
		}
	}
}

func TestARefreshTokenIsOfItsClient(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPublicClient())
	thief := newPublicClient()
	thief.ID, thief.UID, thief.Name = "shop.thief", "thief-uid", "thief"
	w.AddClient(thief)
	first := w.IssueTokens(c, "openid").String("refresh_token")
	second := w.RequireOK(w.Refresh(c, first)).String("refresh_token")
	w.Advance(time.Hour)
	w.CheckError(w.Refresh(thief, second), 400, "invalid_grant")
	// An old token that another client sends does not end the grant either.
	w.CheckError(w.Refresh(thief, first), 400, "invalid_grant")
	w.RequireOK(w.Refresh(c, second))
}

func TestScopesMayBeNarrowedAndNotWidened(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	a := w.IssueTokens(c, "openid", "orders:read", "stock:read")
	w.CheckError(w.Refresh(c, a.String("refresh_token"), "scope", "orders:read orders:write"), 400, "invalid_scope")
	w.CheckError(w.Refresh(c, a.String("refresh_token"), "scope", "unknown"), 400, "invalid_scope")
	narrow := w.RequireOK(w.Refresh(c, a.String("refresh_token"), "scope", "orders:read"))
	if narrow.String("scope") != "orders:read" || narrow.String("id_token") != "" {
		t.Errorf("the answer is %s", narrow.Body)
	}
	for _, absent := range [][]string{nil, {"scope", ""}} {
		narrow = w.RequireOK(w.Refresh(c, narrow.String("refresh_token"), absent...))
		if narrow.String("scope") != "openid orders:read stock:read" {
			t.Errorf("scope is %q after it was narrowed once", narrow.String("scope"))
		}
	}
}

func TestABuiltInScopeThatWasNotGrantedIsDroppedAtRefresh(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	a := w.IssueTokens(c, "openid", "orders:read")
	for asked, want := range map[string]string{
		"offline_access orders:read": "orders:read", "offline_access": "", "profile email": "", "openid offline_access": "openid",
	} {
		a = w.RequireOK(w.Refresh(c, a.String("refresh_token"), "scope", asked))
		if got := a.String("scope"); got != want || !strings.Contains(a.Body, `"scope":"`) || (want == "openid") != (a.String("id_token") != "") {
			t.Errorf("%s: %s, want the scope %q", asked, a.Body, want)
		}
	}
	w.CheckError(w.Refresh(c, a.String("refresh_token"), "scope", "offline_access orders:write"), 400, "invalid_scope")
	b := w.IssueTokens(c, "openid")
	c.Scopes = []string{"orders:read"}
	w.AddClient(c)
	if b = w.RequireOK(w.Refresh(c, b.String("refresh_token"))); b.String("scope") != "" || b.String("id_token") != "" {
		t.Errorf("after the client lost openid: %s", b.Body)
	}
}

func TestAnAuthorizationOfWhichNoScopeIsLeftIsRefused(t *testing.T) {
	w := newServer(t)
	c := servertest.Client("shop.web")
	w.AddClient(c)
	a := w.IssueTokens(c, "openid", "stock:read")
	w.CheckError(w.Refresh(c, a.String("refresh_token"), "scope", "stock:read", "resource", servertest.Issuer), 400, "invalid_scope")
	b := w.IssueTokens(c, "stock:read")
	w.RemoveResourceServer(servertest.Stock)
	w.CheckError(w.Refresh(c, b.String("refresh_token")), 400, "invalid_grant")
	w.CheckError(w.Redeem(c, w.Code(w.Authorization(c, "stock:read"))), 400, "invalid_grant")
	if got := w.RequireOK(w.Refresh(c, a.String("refresh_token"))).String("scope"); got != "openid" {
		t.Errorf("what is left of the other is %q", got)
	}
	w.AddResourceServer(servertest.ResourceServer(servertest.Stock, "stock:read"))
	w.RequireOK(w.Refresh(c, b.String("refresh_token")))
}

func TestWithdrawnConsentEndsThePairsGrants(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	other := w.AddClient(servertest.Client("shop.other"))
	a := w.RequireOK(w.Redeem(c, w.Code(w.Consent(w.Authorization(c, "openid", "offline_access")))))
	b := w.RequireOK(w.Redeem(other, w.Code(w.Consent(w.Authorization(other, "openid", "offline_access")))))
	w.WithdrawConsent(c.UID)
	for _, what := range []string{"withdrawn", "withdrawn and given again"} {
		w.CheckError(w.Refresh(c, a.String("refresh_token")), 400, "invalid_grant")
		if w.IsActive(a.String("access_token")) {
			t.Errorf("%s: an access token of before is active", what)
		}
		w.Consent(w.Authorization(c, "openid", "offline_access"))
	}
	w.RequireOK(w.Refresh(other, b.String("refresh_token")))
}

// Deleting the row of a consent in a database does not change the records of its grants.
func TestAGrantWhoseConsentIsGoneIsRefusedAtEveryUseAlthoughItsRecordHasNotEnded(t *testing.T) {
	for what, uid := range map[string]string{"another consent is there": "of a consent that is gone", "a record without a UID": ""} {
		w := newServer(t)
		c := w.AddClient(servertest.Client("shop.web"))
		a := w.RequireOK(w.Redeem(c, w.Code(w.Consent(w.Authorization(c, "openid", "offline_access")))))
		g := w.StoredGrants()[0]
		g.ConsentUID = uid
		if _, err := w.Memory.UpdateGrant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		w.CheckError(w.Refresh(c, a.String("refresh_token")), 400, "invalid_grant")
		client, _ := w.Registry.Client(c.ID)
		if _, err := w.Grants.CheckRefreshToken(t.Context(), a.String("refresh_token"), client); err == nil || w.IsActive(a.String("access_token")) {
			t.Errorf("%s: a token is active (%v)", what, err)
		}
	}
}

func TestAGrantEndsWithItsPreconditions(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(w *servertest.Server, c documents.Client)
		code   string
		status int
	}{
		{"the password changed", func(w *servertest.Server, _ documents.Client) {
			u := servertest.User()
			u.Epoch = "epoch-2"
			w.AddUser(u)
		}, "invalid_grant", 400},
		{"the user is gone", func(w *servertest.Server, _ documents.Client) { w.RemoveUser(servertest.User()) }, "invalid_grant", 400},
		{"the client is for users of other groups", func(w *servertest.Server, _ documents.Client) {
			w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].Groups = []string{"ops", "dev"} })
		}, "invalid_grant", 400},
		{"the client is for users of other providers", func(w *servertest.Server, _ documents.Client) {
			w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].IdentityProviders = []string{"acme"} })
		}, "invalid_grant", 400},
		{"the redirect URI was removed", func(w *servertest.Server, c documents.Client) {
			c.RedirectURIs = []string{"https://shop.example.com/other"}
			w.AddClient(c)
		}, "invalid_grant", 400},
		{"the client has to ask for consent", func(w *servertest.Server, c documents.Client) {
			c.Consent = documents.ConsentRequired
			w.AddClient(c)
		}, "invalid_grant", 400},
		{"the client may not be offline any more", func(w *servertest.Server, c documents.Client) {
			c.Scopes = []string{"openid", "orders:read"}
			w.AddClient(c)
		}, "invalid_grant", 400},
		{"the client was created again", func(w *servertest.Server, c documents.Client) {
			w.RemoveClient(c.ID)
			c.UID = "another-uid"
			w.AddClient(c)
		}, "invalid_grant", 400},
		{"the client was suspended", func(w *servertest.Server, c documents.Client) {
			c.Suspended = true
			w.AddClient(c)
		}, "invalid_client", 401},
		{"the grant type was removed", func(w *servertest.Server, c documents.Client) {
			c.GrantTypes = []string{oauth.GrantAuthorizationCode}
			w.AddClient(c)
		}, "unauthorized_client", 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newServer(t)
			c := w.AddClient(servertest.Client("shop.web"))
			a := w.IssueTokens(c, "openid", "offline_access", "orders:read")
			test.change(w, c)
			w.CheckError(w.Refresh(c, a.String("refresh_token")), test.status, test.code)
			if g := w.StoredGrants()[0]; g.IsEnded() || g.RefreshTokenNumber != 1 {
				t.Errorf("a refused request changed the record: %+v", g)
			}
		})
	}
}

func TestARefreshedIDTokenKeepsTheLoginAndHasANewIssueTime(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	a := w.IssueTokens(c, "openid")
	before := w.Claims(a.String("id_token"))
	w.Advance(time.Hour)
	refreshed := w.RequireOK(w.Refresh(c, a.String("refresh_token")))
	after := w.Claims(refreshed.String("id_token"))
	for _, name := range []string{"iss", "sub", "aud", "auth_time", "acr", "amr"} {
		if fmt.Sprint(before[name]) != fmt.Sprint(after[name]) {
			t.Errorf("%s was %v and is %v", name, before[name], after[name])
		}
	}
	if after["iat"] != before["iat"].(float64)+3600 {
		t.Errorf("iat was %v and is %v", before["iat"], after["iat"])
	}
}

// A refreshed access token contains the auth_time of the login (RFC 9068 section 2.2.1).
func TestARefreshedAccessTokenKeepsTheLogin(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	a := w.IssueTokens(c, "openid")
	login := w.Claims(a.String("id_token"))
	for range 2 {
		w.Advance(time.Hour)
		a = w.RequireOK(w.Refresh(c, a.String("refresh_token")))
		access := w.Claims(a.String("access_token"))
		for _, name := range []string{"auth_time", "acr", "amr"} {
			if login[name] == nil || fmt.Sprint(access[name]) != fmt.Sprint(login[name]) {
				t.Errorf("%s is %v, of the login %v", name, access[name], login[name])
			}
		}
	}
}

func TestATokenNewerThanItsRecordEndsNothing(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	first := w.IssueTokens(c, "openid").String("refresh_token")
	backup := w.StoredGrants()[0]
	second := w.RequireOK(w.Refresh(c, first)).String("refresh_token")
	third := w.RequireOK(w.Refresh(c, second)).String("refresh_token")
	restored := w.StoredGrants()[0]
	backup.Version = restored.Version
	if _, err := w.Memory.UpdateGrant(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	w.CheckError(w.Refresh(c, third), 400, "invalid_grant")
	if w.StoredGrants()[0].IsEnded() {
		t.Error("the grant has ended")
	}
	w.RequireOK(w.Refresh(c, first))
}

func TestAConfidentialClientKeepsItsTokenWhereOnlyPublicOnesRotate(t *testing.T) {
	w := newServer(t)
	w.ChangeDocument(func(s *documents.Server) { s.RefreshToken.RotatePublicClientsOnly = true })
	c := w.AddClient(servertest.Client("shop.web"))
	public := w.AddClient(newPublicClient())
	token := w.IssueTokens(c, "openid", "offline_access").String("refresh_token")
	for range 10 {
		w.Advance(5 * time.Minute)
		if a := w.RequireOK(w.Refresh(c, token)); a.String("refresh_token") != "" && a.String("refresh_token") != token {
			t.Error("a confidential client got another refresh token")
		}
	}
	if w.Store.Calls("UpdateGrant") != 0 {
		t.Errorf("refreshing for 50 minutes made %d writes", w.Store.Calls("UpdateGrant"))
	}
	for range 12 {
		w.Advance(5 * time.Minute)
		w.RequireOK(w.Refresh(c, token))
	}
	if w.Store.Calls("UpdateGrant") != 1 {
		t.Errorf("refreshing for 110 minutes made %d writes, want 1", w.Store.Calls("UpdateGrant"))
	}
	other := w.IssueTokens(public, "openid").String("refresh_token")
	if next := w.RequireOK(w.Refresh(public, other)).String("refresh_token"); next == "" || next == other {
		t.Error("a public client kept its refresh token")
	}
}

func TestTheSuccessorIsTheSameAfterTheSealingKeyChanged(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPublicClient())
	first := w.IssueTokens(c, "openid").String("refresh_token")
	second := w.RequireOK(w.Refresh(c, first)).String("refresh_token")
	var active string
	w.ChangeDocument(func(s *documents.Server) {
		for i, key := range s.Keys {
			if key.Algorithm != documents.AlgorithmSealing {
				continue
			}
			if key.Phase == documents.KeyActive {
				active = key.KID
				s.Keys[i].Phase = documents.KeyRetiring
			} else {
				s.Keys[i].Phase = documents.KeyActive
			}
		}
	})
	if again := w.RequireOK(w.Refresh(c, first)).String("refresh_token"); again != second {
		t.Error("the repetition got another refresh token")
	}
	third := w.RequireOK(w.Refresh(c, second)).String("refresh_token")
	if strings.HasPrefix(third, active+".") {
		t.Error("the next refresh token is sealed with the key that retires")
	}
	w.ChangeDocument(func(s *documents.Server) { s.RevokedKeys = []string{active} })
	w.CheckError(w.Refresh(c, second), 400, "invalid_grant")
	w.RequireOK(w.Refresh(c, third))
}

// disableGracePeriod makes every second use of a refresh token a reuse.
func disableGracePeriod(s *documents.Server) { s.RefreshToken.ReuseGracePeriod = 0 }

// noClient is for requests without client authentication.
var noClient documents.Client
