package revoke_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/revoke"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
	"github.com/oauth-operator/oauth-operator/tokenserver/token"
)

func newServer(t *testing.T) *servertest.Server {
	t.Helper()
	w := servertest.New(t)
	tokens := &token.Handler{Clients: w.Clients, Grants: w.Grants, Minter: w.Minter, Registry: w.Registry, Passwords: w.Passwords, Throttle: w.Throttle}
	w.Handle("/token", tokens.Handle)
	w.Handle("/revoke", (&revoke.Handler{Clients: w.Clients, Grants: w.Grants}).Handle)
	return w
}

// checkRevoked fails the test unless the answer is a 200 without a body.
func checkRevoked(t *testing.T, what string, a servertest.Answer) {
	t.Helper()
	if a.Status != http.StatusOK || a.Body != "" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: the answer is %d %q, Cache-Control %q; want an empty 200 that is not stored", what, a.Status, a.Body, a.Header.Get("Cache-Control"))
	}
}

func TestRevokingAnAccessTokenEndsItAlone(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	first := w.IssueTokens(c, "openid", "offline_access")
	second := w.RequireOK(w.Refresh(c, first.String("refresh_token")))
	before := w.Store.Writes()
	checkRevoked(t, "an access token", w.Post("/revoke", c, "token", first.String("access_token")))
	if w.IsActive(first.String("access_token")) {
		t.Error("the token is active")
	}
	if !w.IsActive(second.String("access_token")) {
		t.Error("another token of the grant has ended")
	}
	w.RequireOK(w.Refresh(c, second.String("refresh_token")))
	if got := w.Store.Calls("SetMark"); got != 1 || w.Store.Writes()-before != 2 { // the mark, and the refresh
		t.Errorf("there were %d marks", got)
	}
}

func TestRevokingARefreshTokenEndsTheGrant(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	first := w.IssueTokens(c, "openid", "offline_access")
	second := w.RequireOK(w.Refresh(c, first.String("refresh_token")))
	other := w.IssueTokens(c, "openid", "offline_access")
	checkRevoked(t, "a refresh token", w.Post("/revoke", c, "token", second.String("refresh_token")))
	for _, a := range []servertest.Answer{first, second} {
		if w.IsActive(a.String("access_token")) {
			t.Error("an access token of the grant is active")
		}
		w.CheckError(w.Refresh(c, a.String("refresh_token")), 400, "invalid_grant")
	}
	if !w.IsActive(other.String("access_token")) {
		t.Error("another grant has ended")
	}
	w.RequireOK(w.Refresh(c, other.String("refresh_token")))
	if got := w.CounterValue("oauth_operator_tokenserver_grants_ended_total", storage.EndRevoked); got != 1 {
		t.Errorf("the metric counts %v, want 1", got)
	}
}

func TestAnOlderRefreshTokenEndsTheGrantToo(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	first := w.IssueTokens(c, "openid", "offline_access").String("refresh_token")
	second := w.RequireOK(w.Refresh(c, first))
	w.Advance(time.Hour)
	checkRevoked(t, "a token that was used", w.Post("/revoke", c, "token", first))
	w.CheckError(w.Refresh(c, second.String("refresh_token")), 400, "invalid_grant")
}

func TestTheTokenOfAServiceIsRevoked(t *testing.T) {
	w := newServer(t)
	c := servertest.Client("shop.service")
	c.GrantTypes, c.RedirectURIs = []string{oauth.GrantClientCredentials}, nil
	w.AddClient(c)
	first := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials")).String("access_token")
	second := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials")).String("access_token")
	checkRevoked(t, "a token of a service", w.Post("/revoke", c, "token", first))
	if w.IsActive(first) || !w.IsActive(second) {
		t.Errorf("active are: the revoked one %t, the other %t", w.IsActive(first), w.IsActive(second))
	}
}

func TestATokenOfAnotherClientIsRefusedAndUntouched(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	service := servertest.Client("shop.service")
	service.GrantTypes, service.RedirectURIs = []string{oauth.GrantClientCredentials}, nil
	w.AddClient(service)
	a := w.IssueTokens(c, "openid", "offline_access")
	machine := w.RequireOK(w.Post("/token", service, "grant_type", "client_credentials")).String("access_token")
	before := w.Store.Writes()
	for _, thief := range []documents.Client{
		w.AddClient(servertest.Client("shop.thief")), w.AddClient(servertest.Public(servertest.Client("shop.spa"))),
	} {
		for _, token := range []string{a.String("access_token"), a.String("refresh_token"), machine} {
			w.CheckError(w.Post("/revoke", thief, "token", token), 400, "unauthorized_client")
		}
	}
	if w.Store.Writes() != before {
		t.Error("something was written")
	}
	if !w.IsActive(a.String("access_token")) || !w.IsActive(machine) {
		t.Error("a token has ended")
	}
	w.RequireOK(w.Refresh(c, a.String("refresh_token")))
}

func TestAClientThatWasCreatedAgainRevokesNothingOfTheOld(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	a := w.IssueTokens(c, "openid", "offline_access")
	w.RemoveClient(c.ID)
	c.UID = "another-uid"
	w.AddClient(c)
	w.CheckError(w.Post("/revoke", c, "token", a.String("refresh_token")), 400, "unauthorized_client")
	if w.StoredGrants()[0].IsEnded() {
		t.Error("the grant of the former client was ended")
	}
}

func TestAPublicClientRevokesItsTokensByItsIdentifier(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Public(servertest.Client("shop.spa")))
	a := w.IssueTokens(c, "openid", "offline_access")
	checkRevoked(t, "a public client's token", w.Post("/revoke", c, "token", a.String("refresh_token")))
	if w.IsActive(a.String("access_token")) {
		t.Error("the access token is active")
	}
}

func TestWhatIsNoTokenIsRevokedAlready(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	access := w.IssueTokens(c, "openid").String("access_token")
	forged := w.ForgedTokens(access)
	delete(forged, servertest.ForgedIDToken)
	delete(forged, servertest.ForgedClientID) // it has the id of the real one, which the client may revoke
	before := w.Store.Writes()
	for what, value := range forged {
		checkRevoked(t, what, w.Post("/revoke", c, "token", value))
	}
	if w.Store.Writes() != before {
		t.Error("something was written")
	}
	if !w.IsActive(access) {
		t.Error("the token that they look like has ended")
	}
	w.Advance(300 * time.Second)
	checkRevoked(t, "an expired token", w.Post("/revoke", c, "token", access))
	if w.Store.Writes() != before {
		t.Error("something was written for an expired token")
	}
}

func TestAnIDTokenCannotBeRevoked(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	a := w.IssueTokens(c, "openid")
	w.CheckError(w.Post("/revoke", c, "token", a.String("id_token")), 400, "unsupported_token_type")
	if !w.IsActive(a.String("access_token")) {
		t.Error("the access token has ended")
	}
}

func TestAWrongHintStillFindsTheToken(t *testing.T) {
	for _, hint := range []string{"access_token", "refresh_token", "id_token", "unknown", ""} {
		w := newServer(t)
		c := w.AddClient(servertest.Client("shop.web"))
		a := w.IssueTokens(c, "openid", "offline_access")
		checkRevoked(t, "with the hint "+hint, w.Post("/revoke", c, "token", a.String("access_token"), "token_type_hint", hint))
		if w.IsActive(a.String("access_token")) {
			t.Errorf("with the hint %q the access token is active", hint)
		}
		checkRevoked(t, "with the hint "+hint, w.Post("/revoke", c, "token", a.String("refresh_token"), "token_type_hint", hint))
		w.CheckError(w.Refresh(c, a.String("refresh_token")), 400, "invalid_grant")
	}
}

func TestRevokingAgainWritesNothing(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	a := w.IssueTokens(c, "openid", "offline_access")
	for _, token := range []string{a.String("access_token"), a.String("refresh_token")} {
		checkRevoked(t, "the first time", w.Post("/revoke", c, "token", token))
		before := w.Store.Writes()
		for range 5 {
			checkRevoked(t, "again", w.Post("/revoke", c, "token", token))
		}
		if got := w.Store.Writes() - before; got != 0 {
			t.Errorf("revoking again made %d writes", got)
		}
	}
	later := w.IssueTokens(c, "openid", "offline_access")
	checkRevoked(t, "the grant", w.Post("/revoke", c, "token", later.String("refresh_token")))
	before := w.Store.Writes()
	checkRevoked(t, "its access token", w.Post("/revoke", c, "token", later.String("access_token")))
	if w.Store.Writes() != before {
		t.Error("revoking a token of an ended grant wrote something")
	}
}

// newServiceClient returns a client that gets tokens for itself.
func newServiceClient(id, namespace string) documents.Client {
	c := servertest.Client(id)
	c.GrantTypes, c.RedirectURIs, c.Namespace = []string{oauth.GrantClientCredentials}, nil, namespace
	return c
}

// revokeServiceToken gets a token for the client and revokes it.
func revokeServiceToken(t *testing.T, w *servertest.Server, c documents.Client) servertest.Answer {
	t.Helper()
	token := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials")).String("access_token")
	a := w.Post("/revoke", c, "token", token)
	if active := w.IsActive(token); active != (a.Status != http.StatusOK) {
		t.Fatalf("the answer is %d %s, and the token is active: %v", a.Status, a.Body, active)
	}
	return a
}

func TestAMarkGoesWithTheTokenThatItIsAboutAndStaysForTenMinutes(t *testing.T) {
	w := newServer(t)
	swept := func(what string, want int) {
		t.Helper()
		if removed, err := w.Memory.Sweep(t.Context(), w.Now()); removed != want || err != nil {
			t.Errorf("%s: %d marks were removed, want %d (%v)", what, removed, want, err)
		}
	}
	c := w.AddClient(newServiceClient("shop.service", "shop"))
	for range 10 {
		checkRevoked(t, "a token", revokeServiceToken(t, w, c))
	}
	w.Advance(599 * time.Second)
	swept("before ten minutes are over", 0)
	w.Advance(time.Second)
	swept("after them", 10)
	c.AccessTokenLifetime = 3600
	c = w.AddClient(c)
	w.ChangeDocument(func(s *documents.Server) { s.AccessTokenLifetime = 3600 })
	checkRevoked(t, "a token", revokeServiceToken(t, w, c))
	w.Advance(3599 * time.Second)
	swept("before the token expires", 0)
	w.Advance(time.Second)
	swept("when it has", 1)
}

func checkTooManyRevoked(t *testing.T, what string, a servertest.Answer) {
	t.Helper()
	if a.Status != http.StatusServiceUnavailable || a.ErrorCode() != oauth.TemporarilyUnavailable || a.Header.Get("Retry-After") != "60" {
		t.Errorf("%s: the answer is %d %s, Retry-After %q", what, a.Status, a.Body, a.Header.Get("Retry-After"))
	}
}

func TestATenantThatFillsItsPlacesStopsNoOtherNamespacesRevocation(t *testing.T) {
	w := newServer(t)
	bounds := storage.DefaultMarkBounds(storage.MarkToken)
	if bounds != (storage.MarkBounds{PerUserAndClient: 100, PerClient: 1_000, PerNamespace: 10_000, PerServer: 100_000}) {
		t.Errorf("the bounds are %+v", bounds)
	}
	w.Memory.SetMarkBounds(storage.MarkToken, storage.MarkBounds{PerUserAndClient: 5, PerClient: 10, PerNamespace: 20, PerServer: 100})
	for _, id := range []string{"flood.a", "flood.b"} {
		c := w.AddClient(newServiceClient(id, "flood"))
		for range 10 {
			checkRevoked(t, id, revokeServiceToken(t, w, c))
		}
		before := w.Store.Calls("SetMark")
		checkTooManyRevoked(t, id+" at its bound", revokeServiceToken(t, w, c))
		if got := w.Store.Calls("SetMark") - before; got != 1 {
			t.Errorf("%d tries to set a mark where there is no place", got)
		}
	}
	third := w.AddClient(newServiceClient("flood.c", "flood"))
	checkTooManyRevoked(t, "another client of the namespace", revokeServiceToken(t, w, third))
	checkRevoked(t, "another namespace", revokeServiceToken(t, w, w.AddClient(newServiceClient("shop.service", "shop"))))
	if got := w.CounterValue("oauth_operator_tokenserver_revocations_refused_total", ""); got != 3 {
		t.Errorf("the metric counts %v, want 3", got)
	}
	w.Advance(10 * time.Minute)
	checkRevoked(t, "ten minutes later", revokeServiceToken(t, w, third))
}

func TestAUserWhoFillsTheirPlacesAtAClientStopsNoOtherUser(t *testing.T) {
	w := newServer(t)
	w.Memory.SetMarkBounds(storage.MarkToken, storage.MarkBounds{PerUserAndClient: 3, PerClient: 10, PerNamespace: 20, PerServer: 100})
	c := w.AddClient(servertest.Public(servertest.Client("shop.spa")))
	revoke := func(user string) (servertest.Answer, servertest.Answer) {
		a := w.Authorization(c, "openid", "offline_access")
		a.UserUID = user
		begun := w.RequireOK(w.Redeem(c, w.Code(a)))
		return w.Post("/revoke", c, "token", begun.String("access_token")), begun
	}
	w.AddUser(documents.User{UID: "bob-uid", Subject: "bob-subject", Username: "bob", Epoch: "epoch-1"})
	for range 3 {
		got, _ := revoke("alice-uid")
		checkRevoked(t, "alice", got)
	}
	got, begun := revoke("alice-uid")
	checkTooManyRevoked(t, "alice at the bound", got)
	got, _ = revoke("bob-uid")
	checkRevoked(t, "bob", got)
	checkRevoked(t, "alice's refresh token", w.Post("/revoke", c, "token", begun.String("refresh_token")))
	if w.IsActive(begun.String("access_token")) {
		t.Error("the access token is active although the grant has ended")
	}
}

func TestThe200IsNeverFalse(t *testing.T) {
	type faults map[string][]storagetest.Fault // by method
	for kind, cases := range map[string]map[string]faults{
		"access_token": {
			"reading the grant fails": {"GetGrant": {storagetest.Unavailable}},
			"reading the mark fails":  {"IsMarked": {storagetest.Unavailable}},
			"the write fails":         {"SetMark": {storagetest.Unavailable}},
		},
		"refresh_token": {
			"the first read fails":  {"GetGrant": {storagetest.Unavailable}},
			"the second read fails": {"GetGrant": {storagetest.None, storagetest.Unavailable}},
			"the write fails":       {"UpdateGrant": {storagetest.Unavailable}},
		},
	} {
		for what, faults := range cases {
			w := newServer(t)
			c := w.AddClient(servertest.Client("shop.web"))
			begun := w.IssueTokens(c, "openid", "offline_access")
			for method, faults := range faults {
				w.Store.Fail(method, faults...)
			}
			a := w.Post("/revoke", c, "token", begun.String(kind))
			if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
				t.Errorf("%s, %s: the answer is %d %s", kind, what, a.Status, a.Body)
			}
			checkRevoked(t, "when it works again", w.Post("/revoke", c, "token", begun.String(kind)))
			if w.IsActive(begun.String("access_token")) {
				t.Errorf("%s, %s: the access token is active after a 200", kind, what)
			}
		}
	}
}

func TestAnOutcomeThatWasLostIsAskedFor(t *testing.T) {
	for _, fault := range []storagetest.Fault{storagetest.LostAnswer, storagetest.LostRequest} {
		for kind, write := range map[string]string{"access_token": "SetMark", "refresh_token": "UpdateGrant"} {
			w := newServer(t)
			c := w.AddClient(servertest.Client("shop.web"))
			begun := w.IssueTokens(c, "openid", "offline_access")
			w.Store.Fail(write, fault)
			checkRevoked(t, kind, w.Post("/revoke", c, "token", begun.String(kind)))
			if w.IsActive(begun.String("access_token")) {
				t.Errorf("%s: the access token is active after a 200", kind)
			}
		}
	}
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	begun := w.IssueTokens(c, "openid")
	w.Store.Fail("GetGrant", storagetest.None)
	w.Store.Fail("IsMarked", storagetest.None)
	w.Store.FailAll(storagetest.LostRequest)
	if a := w.Post("/revoke", c, "token", begun.String("access_token")); a.Status != http.StatusServiceUnavailable {
		t.Errorf("a mark that never arrives is answered %d %s", a.Status, a.Body)
	}
}

func TestRevocationIsForClientsThatAuthenticate(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	a := w.IssueTokens(c, "openid", "offline_access")
	wrong := w.Form("/revoke", c, "token", a.String("refresh_token"))
	wrong.SetBasicAuth(c.ID, "wrong")
	for what, r := range map[string]*http.Request{
		"no client":           w.Form("/revoke", documents.Client{}, "token", a.String("refresh_token")),
		"an identifier alone": w.Form("/revoke", documents.Client{}, "token", a.String("refresh_token"), "client_id", c.ID),
		"a wrong secret":      wrong,
	} {
		if got := w.Do(r); got.Status != http.StatusUnauthorized || got.ErrorCode() != "invalid_client" {
			t.Errorf("%s: the answer is %d %s", what, got.Status, got.Body)
		}
	}
	suspended := c
	suspended.Suspended = true
	w.AddClient(suspended)
	w.CheckError(w.Post("/revoke", c, "token", a.String("refresh_token")), 401, "invalid_client")
	if w.StoredGrants()[0].IsEnded() {
		t.Error("a refused request ended the grant")
	}
}

func TestARequestThatIsNoneIsRefused(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	access := w.IssueTokens(c, "openid").String("access_token")
	w.CheckError(w.Post("/revoke", c), 400, "invalid_request")
	w.CheckError(w.Post("/revoke", c, "token", access, "token", "x"), 400, "invalid_request")
	w.CheckError(w.Do(w.Form("/revoke?token=x", c, "token", access)), 400, "invalid_request")
	if !w.IsActive(access) {
		t.Error("a refused request ended the token")
	}
}
