package grant_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/memory"
)

func serveClient(t *testing.T, w *servertest.Server, c documents.Client) *registry.Client {
	t.Helper()
	w.AddClient(c)
	client, ok := w.Registry.Client(c.ID)
	if !ok {
		t.Fatalf("%s is not served", c.ID)
	}
	return client
}

func redeem(w *servertest.Server, client *registry.Client, code string) (grant.Result, error) {
	return w.Grants.Redeem(context.Background(), grant.RedeemRequest{
		Client: client, Code: code, RedirectURI: servertest.Callback, CodeVerifier: servertest.Verifier,
	})
}

func beginGrant(t *testing.T, w *servertest.Server, client *registry.Client, scopes ...string) grant.Result {
	t.Helper()
	out, err := redeem(w, client, w.Code(w.Authorization(*client.Client, scopes...)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// checkRefused fails the test unless the error is a refusal of this kind.
func checkRefused(t *testing.T, what string, err error, kind grant.RefusalKind) {
	t.Helper()
	var no *grant.RefusedError
	if !errors.As(err, &no) || no.Kind != kind {
		t.Errorf("%s: the error is %v", what, err)
	}
}

func TestACodeHas256RandomBits(t *testing.T) {
	w := servertest.New(t)
	c := servertest.Client("shop.web")
	serveClient(t, w, c)
	seen := map[string]bool{}
	for range 10 {
		plain, err := w.Keys.Open(keys.PurposeCode, w.Code(w.Authorization(c, "openid")))
		if err != nil {
			t.Fatal(err)
		}
		var content struct{ ID string }
		if err := cbor.Unmarshal(plain, &content); err != nil || len(content.ID) != 64 || seen[content.ID] {
			t.Errorf("the id of a code is %q (%v)", content.ID, err)
		}
		seen[content.ID] = true
	}
}

func TestACodeFitsIntoAURL(t *testing.T) {
	w := servertest.New(t)
	a := w.Authorization(servertest.Client("shop.web"), "openid", "profile", "email", "offline_access", "orders:read", "orders:write")
	a.Nonce, a.ClaimsRequest, a.Resources = strings.Repeat("n", 512), strings.Repeat("c", 512), []string{servertest.Orders, servertest.Stock}
	if code := w.Code(a); len(code) > grant.MaxCodeSize {
		t.Errorf("a code is %d bytes long", len(code))
	}
}

func TestACodeEndsWithItsSession(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	a := w.Authorization(*client.Client, "openid")
	a.SessionEnds = w.Now().Add(10 * time.Second)
	late := w.Code(a)
	w.Advance(10 * time.Second)
	_, err := redeem(w, client, late)
	checkRefused(t, "a code of a session that is over", err, grant.InvalidGrant)
}

func TestNoServerMakesACodeLiveLongerThanTenMinutes(t *testing.T) {
	w := servertest.New(t)
	w.ChangeDocument(func(s *documents.Server) { s.AuthorizationCodeLifetime = 3600 })
	client := serveClient(t, w, servertest.Client("shop.web"))
	code, late := w.Code(w.Authorization(*client.Client, "openid")), w.Code(w.Authorization(*client.Client, "openid"))
	w.Advance(10*time.Minute - time.Second)
	if _, err := redeem(w, client, code); err != nil {
		t.Errorf("within ten minutes: %v", err)
	}
	w.Advance(time.Second)
	_, err := redeem(w, client, late)
	checkRefused(t, "after ten minutes", err, grant.InvalidGrant)
}

func TestAPublicClientNeedsACodeWithAChallenge(t *testing.T) {
	w := servertest.New(t)
	c := servertest.Client("shop.web")
	c.PKCE = documents.PKCEWhenSent
	client := serveClient(t, w, c)
	a := w.Authorization(c, "openid")
	a.CodeChallenge = ""
	code := w.Code(a)
	public := serveClient(t, w, servertest.Public(c))
	_, err := w.Grants.Redeem(t.Context(), grant.RedeemRequest{Client: public, Code: code, RedirectURI: servertest.Callback})
	checkRefused(t, "a client that was confidential when it got the code", err, grant.InvalidGrant)
	if _, err := w.Grants.Redeem(t.Context(), grant.RedeemRequest{Client: client, Code: code, RedirectURI: servertest.Callback}); err != nil {
		t.Errorf("a confidential client that may do without: %v", err)
	}
}

func TestAPasswordThatChangedWhileItWasVerifiedBeginsNothing(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	before, _ := w.Registry.UserByUID("alice-uid")
	u := servertest.User()
	u.Epoch = "epoch-2"
	w.AddUser(u)
	_, err := w.Grants.ExchangePassword(t.Context(), grant.PasswordRequest{Client: client, User: before, Scopes: []string{"openid"}})
	checkRefused(t, "an old password", err, grant.InvalidGrant)
	if len(w.StoredGrants()) != 0 {
		t.Error("there is a record")
	}
}

func TestAGrantEndsAlthoughItsRequestIsGone(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	out := beginGrant(t, w, client, "openid")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Grants.End(gone, out.Grant.ID, storage.EndRevoked); err != nil {
		t.Error(err)
	}
	if g := w.StoredGrants()[0]; !g.IsEnded() || g.EndReason != storage.EndRevoked {
		t.Errorf("the record is %+v", g)
	}
	if err := w.Grants.End(t.Context(), out.Grant.ID, storage.EndLogout); err != nil {
		t.Errorf("ending it again: %v", err)
	}
	if g := w.StoredGrants()[0]; g.EndReason != storage.EndRevoked {
		t.Errorf("ending it again made the reason %q", g.EndReason)
	}
	if err := w.Grants.End(t.Context(), "unknown", storage.EndLogout); err != nil {
		t.Errorf("ending what is not there: %v", err)
	}
}

func TestAReplayIsSeenAsLongAsACodeCouldBeRedeemed(t *testing.T) {
	w := servertest.New(t)
	w.ChangeDocument(func(s *documents.Server) { s.AuthorizationCodeLifetime = 600 })
	c := servertest.Client("shop.web")
	c.GrantTypes = c.GrantTypes[:1] // no refresh token to keep the record for
	client := serveClient(t, w, c)
	code := w.Code(w.Authorization(c, "openid"))
	if _, err := redeem(w, client, code); err != nil {
		t.Fatal(err)
	}
	w.Advance(10*time.Minute - time.Second)
	if _, err := w.Memory.Sweep(t.Context(), w.Now()); err != nil {
		t.Fatal(err)
	}
	_, err := redeem(w, client, code)
	checkRefused(t, "a replay at the last moment", err, grant.InvalidGrant)
	if _, err := w.Memory.Sweep(t.Context(), w.Now()); err != nil {
		t.Fatal(err)
	}
	_, err = redeem(w, client, code)
	checkRefused(t, "and again, after the grant has ended", err, grant.InvalidGrant)
}

// Nothing needs a record that authorizes nothing any more.
func TestARecordIsGoneSoonAfterItsCodeAndTokens(t *testing.T) {
	w := servertest.New(t)
	w.ChangeDocument(func(s *documents.Server) {
		s.AuthorizationCodeLifetime, s.AccessTokenLifetime = 30, 1
		s.RefreshToken = documents.RefreshToken{IdleLifetime: 1, AbsoluteLifetime: 1}
	})
	client := serveClient(t, w, servertest.Client("shop.web"))
	code := w.Code(w.Authorization(*client.Client, "openid", "offline_access"))
	out, err := redeem(w, client, code)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := refreshWith(w, client.ID, out.RefreshToken); err != nil {
		t.Fatal(err)
	}
	w.Advance(30*time.Second - time.Millisecond)
	if _, err := w.Memory.Sweep(t.Context(), w.Now()); err != nil {
		t.Fatal(err)
	}
	_, err = redeem(w, client, code)
	checkRefused(t, "a replay at the last moment", err, grant.InvalidGrant)
	w.Advance(2 * time.Minute)
	if removed, err := w.Memory.Sweep(t.Context(), w.Now()); err != nil || removed != 1 {
		t.Errorf("two minutes later %d records were removed (%v)", removed, err)
	}
}

func TestARecordOutlivesItsLastAccessToken(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	out := beginGrant(t, w, client, "openid")
	w.Advance(24*time.Hour - time.Minute - time.Second) // the session began a minute earlier, and ends in a second
	last, err := w.Grants.Refresh(t.Context(), grant.RefreshRequest{Client: client, RefreshToken: out.RefreshToken})
	if err != nil {
		t.Fatal(err)
	}
	w.Advance(299 * time.Second)
	if _, err := w.Memory.Sweep(t.Context(), w.Now()); err != nil {
		t.Fatal(err)
	}
	if g, err := w.Memory.GetGrant(t.Context(), last.Grant.ID); err != nil || g.IsEnded() {
		t.Errorf("the record of a token that has not expired is gone: %v", err)
	}
	w.Advance(time.Hour)
	if removed, err := w.Memory.Sweep(t.Context(), w.Now()); err != nil || removed != 1 {
		t.Errorf("an hour later %d records were removed (%v)", removed, err)
	}
}

func TestTheOldestOfTooManyGrantsEnds(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	oldest := beginGrant(t, w, client, "openid")
	for range storage.MaxGrantsPerUserAndClient {
		w.Advance(time.Second)
		beginGrant(t, w, client, "openid")
	}
	_, err := w.Grants.Refresh(t.Context(), grant.RefreshRequest{Client: client, RefreshToken: oldest.RefreshToken})
	checkRefused(t, "the oldest", err, grant.InvalidGrant)
	live := 0
	for _, g := range w.StoredGrants() {
		if g.IsLive(w.Now()) {
			live++
		}
	}
	if live != storage.MaxGrantsPerUserAndClient {
		t.Errorf("%d grants are live, want %d", live, storage.MaxGrantsPerUserAndClient)
	}
	if w.CounterValue("oauth_operator_tokenserver_grants_ended_total", "Bound") != 1 || !strings.Contains(w.Log.String(), `"reason":"Bound"`) {
		t.Error("that it ended is neither logged nor counted once")
	}
}

func TestOnlyTheReuseOfACodeOrRefreshTokenIsAWarning(t *testing.T) {
	w := servertest.New(t)
	for _, reason := range []string{
		storage.EndCodeReuse, storage.EndRefreshTokenReuse, storage.EndRevoked, storage.EndConsentWithdrawn, storage.EndLogout,
		storage.EndBound,
	} {
		w.Grants.ReportEnd(t.Context(), storage.Grant{ID: "of-" + reason, EndReason: reason})
		reuse := reason == storage.EndCodeReuse || reason == storage.EndRefreshTokenReuse
		logged := w.Log.String()[strings.LastIndex(strings.TrimSpace(w.Log.String()), "\n")+1:]
		if !strings.Contains(logged, `"grant":"of-`+reason+`"`) || strings.Contains(logged, `"level":"WARN"`) != reuse {
			t.Errorf("%s is logged as %s", reason, logged)
		}
	}
}

// A record that was lost and is created again under its id has another incarnation, so the old
// tokens stay inactive.
func TestTokensOfALostRecordStayDead(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	code := w.Code(w.Authorization(*client.Client, "openid"))
	lost, err := redeem(w, client, code)
	if err != nil {
		t.Fatal(err)
	}
	lostAccess := accessToken(t, w, client, lost)
	if w.Store.Store, err = memory.New(w.Now, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if w.IsActive(lostAccess) {
		t.Error("an access token without its record is active")
	}
	again, err := redeem(w, client, code)
	if err != nil || again.Grant.ID != lost.Grant.ID {
		t.Fatalf("the record is %q, was %q (%v)", again.Grant.ID, lost.Grant.ID, err)
	}
	if w.IsActive(lostAccess) {
		t.Error("an access token of the lost record is active")
	}
	_, err = w.Grants.Refresh(t.Context(), grant.RefreshRequest{Client: client, RefreshToken: lost.RefreshToken})
	checkRefused(t, "a refresh token of the lost record", err, grant.InvalidGrant)
	for _, token := range []string{lostAccess, lost.RefreshToken} {
		if became, err := w.Grants.Revoke(t.Context(), client, token); became != grant.UnknownToken || err != nil {
			t.Errorf("revoking a token of the lost record is %v (%v)", became, err)
		}
	}
	if !w.IsActive(accessToken(t, w, client, again)) {
		t.Error("the new record has ended")
	}
	if _, err := w.Grants.Refresh(t.Context(), grant.RefreshRequest{Client: client, RefreshToken: again.RefreshToken}); err != nil {
		t.Errorf("refreshing the new record: %v", err)
	}
}

func accessToken(t *testing.T, w *servertest.Server, client *registry.Client, out grant.Result) string {
	t.Helper()
	token, _, err := w.Minter.AccessToken(mint.AccessTokenInput{
		Client: client, Subject: out.Grant.Subject, Audience: out.Audience, Scopes: out.Scopes,
		TokenID: mint.TokenID{Grant: out.Grant.ID, Incarnation: out.Grant.Incarnation},
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A dump of the store contains no value that a client or browser could send, and none that they
// got.
func TestADumpOfTheStoreYieldsNothingUsable(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	code := w.Code(w.Authorization(*client.Client, "openid", "offline_access"))
	out, err := redeem(w, client, code)
	if err != nil {
		t.Fatal(err)
	}
	if out, err = w.Grants.Refresh(t.Context(), grant.RefreshRequest{Client: client, RefreshToken: out.RefreshToken}); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(w.StoredGrants())
	if err != nil {
		t.Fatal(err)
	}
	plainCode, _ := w.Keys.Open(keys.PurposeCode, code)
	var content struct{ ID string }
	if err := cbor.Unmarshal(plainCode, &content); err != nil {
		t.Fatal(err)
	}
	for what, value := range map[string]string{
		"the code": code, "the id in the code": content.ID, "the refresh token": out.RefreshToken, "the client's secret": servertest.Secret,
		"the password": servertest.Password, "the verifier": servertest.Verifier,
	} {
		if strings.Contains(string(raw), value) {
			t.Errorf("%s is in the store", what)
		}
	}
	var records []map[string]any
	if err := json.Unmarshal(raw, &records); err != nil {
		t.Fatal(err)
	}
	for name, value := range records[0] {
		text, ok := value.(string)
		if !ok {
			continue
		}
		_, err := redeem(w, client, text)
		checkRefused(t, name+" as a code", err, grant.InvalidGrant)
		_, err = w.Grants.Refresh(t.Context(), grant.RefreshRequest{Client: client, RefreshToken: text})
		checkRefused(t, name+" as a refresh token", err, grant.InvalidGrant)
		if _, err := w.Grants.CheckAccessToken(t.Context(), text); !errors.Is(err, grant.ErrInactive) {
			t.Errorf("%s as an access token: %v", name, err)
		}
	}
	if w.StoredGrants()[0].IsEnded() {
		t.Error("trying ended the grant")
	}
}

// The reason of a refusal is a fixed text, without a value of the request.
func TestARefusalQuotesNothing(t *testing.T) {
	w := servertest.New(t)
	client := serveClient(t, w, servertest.Client("shop.web"))
	const needle = "needle-in-the-request"
	_, codeErr := redeem(w, client, needle)
	_, refreshErr := w.Grants.Refresh(t.Context(), grant.RefreshRequest{Client: client, RefreshToken: needle})
	_, uriErr := w.Grants.Redeem(t.Context(), grant.RedeemRequest{
		Client: client, Code: w.Code(w.Authorization(*client.Client, "openid")), RedirectURI: needle, CodeVerifier: needle,
	})
	for _, err := range []error{codeErr, refreshErr, uriErr} {
		checkRefused(t, "a needle", err, grant.InvalidGrant)
		if strings.Contains(err.Error(), needle) {
			t.Errorf("the error is %v", err)
		}
	}
}
