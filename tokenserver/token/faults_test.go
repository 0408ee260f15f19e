package token_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
)

// checkTryAgain fails the test unless the answer is a 503 with Retry-After.
func checkTryAgain(t *testing.T, a servertest.Answer) {
	t.Helper()
	if a.Status != http.StatusServiceUnavailable || a.ErrorCode() != "temporarily_unavailable" || a.Header.Get("Retry-After") == "" {
		t.Errorf("the answer is %d %s, Retry-After %q; want 503 temporarily_unavailable", a.Status, a.Body, a.Header.Get("Retry-After"))
	}
}

func TestARedemptionWhoseAnswerWasLostIsNotAReplay(t *testing.T) {
	for _, fault := range []storagetest.Fault{storagetest.LostAnswer, storagetest.LostRequest} {
		w := newServer(t)
		c := w.AddClient(servertest.Client("shop.web"))
		code := w.Code(w.Authorization(c, "openid", "orders:read"))
		w.Store.Fail("CreateGrant", fault)
		a := w.RequireOK(w.Redeem(c, code))
		if !w.IsActive(a.String("access_token")) {
			t.Error("the access token is not active")
		}
		w.RequireOK(w.Refresh(c, a.String("refresh_token")))
		w.Advance(time.Second)
		w.CheckError(w.Redeem(c, code), 400, "invalid_grant")
		if w.IsActive(a.String("access_token")) {
			t.Error("a replay after it ended nothing")
		}
	}
}

func TestAnUnreadableOutcomeIsTriedAgainLater(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid"))
	w.Store.Fail("CreateGrant", storagetest.LostRequest)
	w.Store.Fail("GetGrant", storagetest.Unavailable)
	checkTryAgain(t, w.Redeem(c, code))
	w.RequireOK(w.Redeem(c, code))
}

func TestAWriteThatHappenedUnseenIsOnesOwnWhenTheClientTriesAgain(t *testing.T) {
	w := newServer(t)
	w.ChangeDocument(disableGracePeriod)
	c := w.AddClient(servertest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid", "offline_access"))
	w.Store.Fail("CreateGrant", storagetest.LostAnswer)
	w.Store.Fail("GetGrant", storagetest.Unavailable)
	checkTryAgain(t, w.Redeem(c, code))
	if len(w.StoredGrants()) != 1 {
		t.Fatal("the write did not happen")
	}
	a := w.RequireOK(w.Redeem(c, code))
	w.Store.Fail("GetGrant", storagetest.None, storagetest.Unavailable)
	w.Store.Fail("UpdateGrant", storagetest.LostAnswer)
	checkTryAgain(t, w.Refresh(c, a.String("refresh_token")))
	next := w.RequireOK(w.Refresh(c, a.String("refresh_token")))
	last := w.RequireOK(w.Refresh(c, next.String("refresh_token")))

	// The client has been answered, so another use of the token is reuse.
	w.CheckError(w.Refresh(c, next.String("refresh_token")), 400, "invalid_grant")
	w.CheckError(w.Refresh(c, last.String("refresh_token")), 400, "invalid_grant")
	w.CheckError(w.Redeem(c, code), 400, "invalid_grant")
}

func TestOfTwoRetriesAfterAnUnseenWriteOneSucceeds(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid"))
	w.Store.Fail("CreateGrant", storagetest.LostAnswer)
	w.Store.Fail("GetGrant", storagetest.Unavailable)
	checkTryAgain(t, w.Redeem(c, code))
	a := w.RequireOK(w.Redeem(c, code))
	w.CheckError(w.Redeem(c, code), 400, "invalid_grant")
	if w.IsActive(a.String("access_token")) {
		t.Error("the replay ended nothing")
	}
}

func TestAnUnreachableStoreConsumesNoCode(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid"))
	w.Store.FailAll(storagetest.Unavailable)
	checkTryAgain(t, w.Redeem(c, code))
	w.Store.FailAll(storagetest.None)
	w.Store.Fail("CreateGrant", storagetest.Unavailable)
	checkTryAgain(t, w.Redeem(c, code))
	w.RequireOK(w.Redeem(c, code))
}

func TestARefreshWhoseAnswerWasLostIsOnesOwn(t *testing.T) {
	for _, fault := range []storagetest.Fault{storagetest.LostAnswer, storagetest.LostRequest} {
		w := newServer(t)
		c := w.AddClient(servertest.Client("shop.web"))
		token := w.IssueTokens(c, "openid", "offline_access").String("refresh_token")
		w.Store.Fail("UpdateGrant", fault)
		a := w.RequireOK(w.Refresh(c, token))
		if g := w.StoredGrants()[0]; g.RefreshTokenNumber != 2 || g.IsEnded() {
			t.Errorf("the record is %+v", g)
		}
		w.RequireOK(w.Refresh(c, a.String("refresh_token")))
	}
}

func TestARefreshWhoseAnswerWasLostIsOnesOwnWithoutGraceToo(t *testing.T) {
	w := newServer(t)
	w.ChangeDocument(disableGracePeriod)
	c := w.AddClient(servertest.Client("shop.web"))
	token := w.IssueTokens(c, "openid", "offline_access").String("refresh_token")
	w.Store.Fail("UpdateGrant", storagetest.LostAnswer)
	w.RequireOK(w.Refresh(c, token))
	if w.StoredGrants()[0].IsEnded() {
		t.Error("a request's own write was taken for a replay")
	}
}

func TestAnUnreachableStoreConsumesNoRefreshToken(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	token := w.IssueTokens(c, "openid", "offline_access").String("refresh_token")
	for _, faults := range []map[string][]storagetest.Fault{
		{"GetGrant": {storagetest.Unavailable}},
		{"UpdateGrant": {storagetest.Unavailable}},
		{"UpdateGrant": {storagetest.LostRequest}, "GetGrant": {storagetest.None, storagetest.Unavailable}},
	} {
		for method, faults := range faults {
			w.Store.Fail(method, faults...)
		}
		checkTryAgain(t, w.Refresh(c, token))
	}
	if g := w.StoredGrants()[0]; g.RefreshTokenNumber != 1 || g.IsEnded() {
		t.Errorf("the record is %+v", g)
	}
	w.RequireOK(w.Refresh(c, token))
}

func TestAClientRetriesWithinTheGraceAfterACrash(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	token := w.IssueTokens(c, "openid", "offline_access").String("refresh_token")
	w.Store.Fail("GetGrant", storagetest.None, storagetest.Unavailable)
	w.Store.Fail("UpdateGrant", storagetest.LostAnswer)
	checkTryAgain(t, w.Refresh(c, token))
	if g := w.StoredGrants()[0]; g.RefreshTokenNumber != 2 {
		t.Fatalf("the refresh token has the number %d, want 2", g.RefreshTokenNumber)
	}
	w.Advance(30 * time.Second)
	a := w.RequireOK(w.Refresh(c, token))
	w.RequireOK(w.Refresh(c, a.String("refresh_token")))
}

func TestAReplayThatCannotEndTheGrantSaysSo(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid"))
	a := w.RequireOK(w.Redeem(c, code))
	w.Store.Fail("UpdateGrant", storagetest.Unavailable)
	checkTryAgain(t, w.Redeem(c, code))
	w.CheckError(w.Redeem(c, code), 400, "invalid_grant")
	if w.IsActive(a.String("access_token")) {
		t.Error("the access token is active after the replay")
	}
}

func TestAnEndWhoseAnswerWasLostCountsOnce(t *testing.T) {
	for _, fault := range []storagetest.Fault{storagetest.LostAnswer, storagetest.LostRequest} {
		w := newServer(t)
		c := w.AddClient(servertest.Client("shop.web"))
		code := w.Code(w.Authorization(c, "openid"))
		a := w.RequireOK(w.Redeem(c, code))
		w.Store.Fail("UpdateGrant", fault)
		w.CheckError(w.Redeem(c, code), 400, "invalid_grant")
		if w.IsActive(a.String("access_token")) {
			t.Error("the access token is active after the replay")
		}
		if got := w.CounterValue("oauth_operator_tokenserver_grants_ended_total", "CodeReuse"); got != 1 {
			t.Errorf("the metric counts %v, want 1", got)
		}
	}
}

// Without a key no token can be made. The server checks that before it uses up a code or a refresh
// token.
func TestAKeyThatIsLackingUsesNothingUp(t *testing.T) {
	for _, lacking := range []string{"ES256", "RS256", documents.AlgorithmSealing} {
		w := newServer(t)
		c := w.AddClient(servertest.Client("shop.web"))
		code := w.Code(w.Authorization(c, "openid"))
		a := w.IssueTokens(c, "openid")
		all, some := slices.Clone(w.Document.Keys), slices.Clone(w.Document.Keys)
		for i := range some {
			if some[i].Algorithm == lacking {
				some[i].Phase = documents.KeyRetiring
			}
		}
		writes := w.Store.Writes()
		w.ChangeDocument(func(s *documents.Server) { s.Keys = some })
		checkTryAgain(t, w.Redeem(c, code))
		checkTryAgain(t, w.Refresh(c, a.String("refresh_token")))
		if w.Store.Writes() != writes {
			t.Errorf("without a key for %s something was written", lacking)
		}
		w.ChangeDocument(func(s *documents.Server) { s.Keys = all })
		w.RequireOK(w.Redeem(c, code))
		w.RequireOK(w.Refresh(c, a.String("refresh_token")))
	}
}

func TestTheServersBoundIsAnsweredWith503(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	w.Memory.SetGrantBounds(20, 1)
	a := w.IssueTokens(c, "openid")
	code := w.Code(w.Authorization(c, "openid"))
	const full = "oauth_operator_tokenserver_grants_refused_total"
	if got := w.CounterValue(full, ""); got != 0 {
		t.Errorf("before it, %s is %v", full, got)
	}
	checkTryAgain(t, w.Redeem(c, code))
	if got := w.CounterValue(full, ""); got != 1 {
		t.Errorf("%s is %v, want 1", full, got)
	}
	w.RequireOK(w.Post("/revoke", c, "token", a.String("refresh_token")))
	w.RequireOK(w.Redeem(c, code))
}

func TestMachinesGetTokensWhileTheStoreIsAway(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newServiceClient())
	w.Store.FailAll(storagetest.Unavailable)
	w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials"))
}

func TestAnUnreachableStoreNeverMakesAFalseAnswer(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	a := w.IssueTokens(c, "openid", "offline_access")
	w.Store.FailAll(storagetest.Unavailable)
	for _, token := range []string{a.String("access_token"), a.String("refresh_token")} {
		checkTryAgain(t, w.Post("/introspect", c, "token", token))
		checkTryAgain(t, w.Post("/revoke", c, "token", token))
	}
	r := w.Form("/userinfo", noClient)
	r.Header.Set("Authorization", "Bearer "+a.String("access_token"))
	checkTryAgain(t, w.Do(r))
	w.Store.FailAll(storagetest.None)
	if !w.IsActive(a.String("access_token")) {
		t.Error("the token was revoked although the answer was 503")
	}
}

func TestAnUnseenWriteStaysOnesOwnHoweverOftenTheStoreFails(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	code := w.Code(w.Authorization(c, "openid"))
	w.Store.Fail("CreateGrant", storagetest.LostAnswer)
	w.Store.Fail("GetGrant", storagetest.Unavailable)
	checkTryAgain(t, w.Redeem(c, code))
	for _, method := range []string{"CreateGrant", "GetGrant"} {
		w.Store.Fail(method, storagetest.Unavailable)
		checkTryAgain(t, w.Redeem(c, code))
	}
	a := w.RequireOK(w.Redeem(c, code))
	if !w.IsActive(a.String("access_token")) {
		t.Error("the access token is not active")
	}
}
