package userinfo_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/revoke"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/token"
	"github.com/oauth-operator/oauth-operator/tokenserver/userinfo"
)

const realm = `Bearer realm="https://auth.example.com"`

func newServer(t *testing.T) *servertest.Server {
	t.Helper()
	w := servertest.New(t)
	tokens := &token.Handler{Clients: w.Clients, Grants: w.Grants, Minter: w.Minter, Registry: w.Registry, Passwords: w.Passwords, Throttle: w.Throttle}
	w.Handle("/token", tokens.Handle)
	w.Handle("/revoke", (&revoke.Handler{Clients: w.Clients, Grants: w.Grants}).Handle)
	w.Handle("/userinfo", (&userinfo.Handler{Grants: w.Grants, Registry: w.Registry}).Handle)
	return w
}

// newClient returns a client that may have every scope about a user.
func newClient() documents.Client {
	c := servertest.Client("shop.web")
	c.Scopes = append([]string{"orders:read"}, oauth.BuiltInScopes...)
	return c
}

func newGet(target, authorization string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return r
}

func newPost(target, authorization string, pairs ...string) *http.Request {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", oauth.FormType)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return r
}

// getUserInfo returns the UserInfo response for the token.
func getUserInfo(w *servertest.Server, token string) servertest.Answer {
	return w.Do(newGet("/userinfo", "Bearer "+token))
}

// checkChallenge fails the test unless the answer is this error, in its body and in its challenge.
func checkChallenge(t *testing.T, what string, a servertest.Answer, status int, code string) {
	t.Helper()
	challenge := a.Header.Get("WWW-Authenticate")
	if a.Status != status || a.ErrorCode() != code || !strings.HasPrefix(challenge, realm+`, error="`+code+`"`) {
		t.Errorf("%s: the answer is %d %s, WWW-Authenticate %q; want %d %s", what, a.Status, a.Body, challenge, status, code)
	}
	if a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: Cache-Control is %q", what, a.Header.Get("Cache-Control"))
	}
}

func TestATokenIsTakenFromTheHeaderOrAPostedForm(t *testing.T) {
	w := newServer(t)
	access := w.IssueTokens(w.AddClient(newClient()), "openid", "email").String("access_token")
	want := map[string]any{"sub": servertest.Subject, "identity_provider": "local", "email": "alice@example.com", "email_verified": true}
	json := newPost("/userinfo", "Bearer "+access)
	json.Header.Set("Content-Type", "application/json")
	for what, r := range map[string]*http.Request{
		"GET":                                 newGet("/userinfo", "Bearer "+access),
		"GET with the scheme in lower case":   newGet("/userinfo", "bearer "+access),
		"GET with two spaces":                 newGet("/userinfo", "Bearer  "+access),
		"POST with a header":                  newPost("/userinfo", "Bearer "+access),
		"POST with a header and no form":      json,
		"POST with a form":                    newPost("/userinfo", "", "access_token", access),
		"with a parameter that means nothing": newGet("/userinfo?schema=openid", "Bearer "+access),
	} {
		a := w.Do(r)
		if a.Status != http.StatusOK || !reflect.DeepEqual(a.JSON, want) {
			t.Errorf("%s: the answer is %d %s", what, a.Status, a.Body)
		}
		if h := a.Header; h.Get("Cache-Control") != "no-store" || h.Get("Content-Type") != "application/json" {
			t.Errorf("%s: Cache-Control %q, Content-Type %q", what, h.Get("Cache-Control"), h.Get("Content-Type"))
		}
	}
}

func TestATokenInTheURLIsRefused(t *testing.T) {
	w := newServer(t)
	access := w.IssueTokens(w.AddClient(newClient()), "openid").String("access_token")
	for what, r := range map[string]*http.Request{
		"alone":              newGet("/userinfo?access_token="+access, ""),
		"with a header":      newGet("/userinfo?access_token="+access, "Bearer "+access),
		"in disguise":        newGet("/userinfo?access%5Ftoken="+access, "Bearer "+access),
		"empty":              newGet("/userinfo?access_token=", "Bearer "+access),
		"with a posted form": newPost("/userinfo?access_token="+access, "", "access_token", access),
	} {
		checkChallenge(t, what, w.Do(r), 400, "invalid_request")
	}
}

func TestWhoBringsNoTokenIsToldHowAndNoError(t *testing.T) {
	w := newServer(t)
	access := w.IssueTokens(w.AddClient(newClient()), "openid").String("access_token")
	basic := newGet("/userinfo", "")
	basic.SetBasicAuth("shop.web", servertest.Secret)
	form := newGet("/userinfo", "")
	form.Header.Set("Content-Type", oauth.FormType)
	form.Body = http.NoBody
	body := newPost("/userinfo", "", "access_token", access)
	body.Method = http.MethodGet
	for what, r := range map[string]*http.Request{
		"nothing": newGet("/userinfo", ""), "an empty form": newPost("/userinfo", ""), "an empty parameter": newPost("/userinfo", "", "access_token", ""),
		"another scheme": basic, "a GET of type form": form, "a form in a GET": body, "a scheme that is longer": newGet("/userinfo", "Bearerish "+access),
	} {
		a := w.Do(r)
		if a.Status != http.StatusUnauthorized || a.Body != "" || a.Header.Get("WWW-Authenticate") != realm {
			t.Errorf("%s: the answer is %d %q, WWW-Authenticate %q", what, a.Status, a.Body, a.Header.Get("WWW-Authenticate"))
		}
	}
}

func TestTwoTokensInOneRequestAreRefused(t *testing.T) {
	w := newServer(t)
	access := w.IssueTokens(w.AddClient(newClient()), "openid").String("access_token")
	twice := newGet("/userinfo", "Bearer "+access)
	twice.Header.Add("Authorization", "Bearer "+access)
	for what, r := range map[string]*http.Request{
		"header and form": newPost("/userinfo", "Bearer "+access, "access_token", access),
		"two headers":     twice,
		"twice in a form": newPost("/userinfo", "", "access_token", access, "access_token", access),
	} {
		checkChallenge(t, what, w.Do(r), 400, "invalid_request")
	}
}

func TestAHeaderThatHoldsNoTokenIsABadRequest(t *testing.T) {
	w := newServer(t)
	for _, header := range []string{"Bearer", "Bearer ", "Bearer a b", "Bearer \"x\"", "Bearer x,y", "Bearer ä"} {
		checkChallenge(t, header, w.Do(newGet("/userinfo", header)), 400, "invalid_request")
	}
}

func TestWhatIsNoAccessTokenIsInvalid(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newClient())
	a := w.IssueTokens(c, "openid", "offline_access")
	forged := w.ForgedTokens(a.String("access_token"))
	forged["an ID token"] = a.String("id_token")
	forged["a refresh token"] = a.String("refresh_token")
	for what, value := range forged {
		checkChallenge(t, what, w.Do(newPost("/userinfo", "", "access_token", value)), 401, "invalid_token")
	}
	w.RequireOK(getUserInfo(w, a.String("access_token")))
}

func TestATokenIsInvalidOnceItAuthorisesNothing(t *testing.T) {
	for what, takeAway := range map[string]func(w *servertest.Server, c documents.Client, a servertest.Answer){
		"expired": func(w *servertest.Server, _ documents.Client, _ servertest.Answer) { w.Advance(300 * time.Second) },
		"revoked": func(w *servertest.Server, c documents.Client, a servertest.Answer) {
			w.Post("/revoke", c, "token", a.String("access_token"))
		},
		"its grant revoked": func(w *servertest.Server, c documents.Client, a servertest.Answer) {
			w.Post("/revoke", c, "token", a.String("refresh_token"))
		},
		"its client suspended": func(w *servertest.Server, c documents.Client, _ servertest.Answer) {
			c.Suspended = true
			w.AddClient(c)
		},
		"its client gone": func(w *servertest.Server, c documents.Client, _ servertest.Answer) { w.RemoveClient(c.ID) },
		"its user gone":   func(w *servertest.Server, _ documents.Client, _ servertest.Answer) { w.RemoveUser(servertest.User()) },
		"its session ended": func(w *servertest.Server, _ documents.Client, _ servertest.Answer) {
			_ = w.Memory.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: "session-1", ExpiresAt: w.Now().Add(time.Hour)})
		},
		"the client is for users of other groups": func(w *servertest.Server, _ documents.Client, _ servertest.Answer) {
			w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].Groups = []string{"ops", "dev"} })
		},
		"the client is for users of other providers": func(w *servertest.Server, _ documents.Client, _ servertest.Answer) {
			w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].IdentityProviders = []string{"acme"} })
		},
		"the password changed": func(w *servertest.Server, _ documents.Client, _ servertest.Answer) {
			u := servertest.User()
			u.Epoch = "epoch-2"
			w.AddUser(u)
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newServer(t)
			c := w.AddClient(newClient())
			a := w.IssueTokens(c, "openid")
			w.RequireOK(getUserInfo(w, a.String("access_token")))
			takeAway(w, c, a)
			checkChallenge(t, what, getUserInfo(w, a.String("access_token")), 401, "invalid_token")
		})
	}
}

func TestATokenForAnAPIAloneIsInvalidHere(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newClient())
	code := w.Code(w.Authorization(c, "openid", "orders:read"))
	access := w.RequireOK(w.Redeem(c, code, "resource", servertest.Orders)).String("access_token")
	checkChallenge(t, "a token for an API", getUserInfo(w, access), 401, "invalid_token")

	code = w.Code(w.Authorization(c, "openid", "orders:read"))
	both := w.RequireOK(w.Redeem(c, code, "resource", servertest.Orders, "resource", servertest.Issuer))
	w.RequireOK(getUserInfo(w, both.String("access_token")))
}

func TestTheScopeOpenIDIsNeeded(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newClient())
	service := servertest.Client("shop.service")
	service.GrantTypes, service.RedirectURIs, service.Scopes = []string{oauth.GrantClientCredentials}, nil, nil
	w.AddClient(service)
	narrowed := w.IssueTokens(c, "openid", "profile")
	former := w.IssueTokens(c, "openid", "profile").String("access_token")
	tokens := map[string]string{
		"a user's token without it": w.IssueTokens(c, "profile").String("access_token"),
		"a narrowed one":            w.RequireOK(w.Refresh(c, narrowed.String("refresh_token"), "scope", "profile")).String("access_token"),
		"a service's token":         w.RequireOK(w.Post("/token", service, "grant_type", "client_credentials")).String("access_token"),
	}
	for what, token := range tokens {
		a := getUserInfo(w, token)
		checkChallenge(t, what, a, 403, "insufficient_scope")
		if !strings.HasSuffix(a.Header.Get("WWW-Authenticate"), `, scope="openid"`) {
			t.Errorf("%s: WWW-Authenticate is %q", what, a.Header.Get("WWW-Authenticate"))
		}
	}
	w.RequireOK(getUserInfo(w, former))
	c.Scopes = []string{"profile"}
	w.AddClient(c)
	checkChallenge(t, "a client that may no longer have it", getUserInfo(w, former), 403, "insufficient_scope")
}

// A token with openid and without a user gets no claims.
func TestATokenWithoutAUserHasNoUserInfo(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newClient())
	served, _ := w.Registry.Client(c.ID)
	token, _, err := w.Minter.AccessToken(mint.AccessTokenInput{
		Client: served, Subject: servertest.Subject, Audience: []string{servertest.Issuer}, Scopes: []string{"openid", "profile"},
		TokenID: mint.TokenID{ClientUID: c.UID, StoreID: w.Grants.StoreID},
	})
	if err != nil {
		t.Fatal(err)
	}
	checkChallenge(t, "a token without a user", getUserInfo(w, token), 403, "insufficient_scope")
}

// newUserWithAllClaims returns a user with a claim for every scope, one for no scope, and some that
// the protocol reserves.
func newUserWithAllClaims() documents.User {
	u := servertest.User()
	u.Claims = map[string]any{
		"name": "Alice", "given_name": "Alice", "email": "alice@example.com", "email_verified": false, "groups": []any{"admins", "ops"},
		"address": map[string]any{"country": "NL"}, "phone_number": "+31", "department": "sales", "nickname": nil,
		"sub": "mallory", "iss": "https://evil.example", "aud": "x", "exp": 1.0, "client_id": "x", "scope": "x", "auth_time": 1.0,
	}
	return u
}

func TestClaimsComeByScope(t *testing.T) {
	w := newServer(t)
	w.AddUser(newUserWithAllClaims())
	c := w.AddClient(newClient())
	for _, test := range []struct {
		scopes []string
		want   map[string]any
	}{
		{[]string{"openid"}, map[string]any{}},
		{[]string{"openid", "profile"}, map[string]any{"name": "Alice", "given_name": "Alice", "preferred_username": "alice"}},
		{[]string{"openid", "email"}, map[string]any{"email": "alice@example.com", "email_verified": false}},
		{[]string{"openid", "address"}, map[string]any{"address": map[string]any{"country": "NL"}}},
		{[]string{"openid", "phone"}, map[string]any{"phone_number": "+31"}},
		{[]string{"openid", "groups"}, map[string]any{"groups": []any{"admins", "ops"}}},
		{[]string{"openid", "offline_access", "orders:read"}, map[string]any{}},
	} {
		test.want["sub"], test.want["identity_provider"] = servertest.Subject, "local"
		a := w.RequireOK(getUserInfo(w, w.IssueTokens(c, test.scopes...).String("access_token")))
		if !reflect.DeepEqual(a.JSON, test.want) {
			t.Errorf("%v: the claims are %v, want %v", test.scopes, a.JSON, test.want)
		}
	}
}

func TestTheClaimsThatAClientRegisteredForIDTokensAreInBothWhateverTheScope(t *testing.T) {
	w := newServer(t)
	w.AddUser(newUserWithAllClaims())
	c := newClient()
	c.IDTokenClaims = []string{"groups", "email", "department", "unknown"}
	w.AddClient(c)
	tokens := w.IssueTokens(c, "openid")
	inUserInfo, inIDToken := w.RequireOK(getUserInfo(w, tokens.String("access_token"))).JSON, w.Claims(tokens.String("id_token"))
	for name, want := range map[string]any{
		"groups": []any{"admins", "ops"}, "email": "alice@example.com", "department": "sales", "unknown": nil, "email_verified": nil, "name": nil,
	} {
		if !reflect.DeepEqual(inUserInfo[name], want) || !reflect.DeepEqual(inIDToken[name], want) {
			t.Errorf("%s is %v at userinfo and %v in the ID token, want %v", name, inUserInfo[name], inIDToken[name], want)
		}
	}
	if a := getUserInfo(w, w.IssueTokens(c, "profile").String("access_token")); a.Status == 200 {
		t.Errorf("without openid there are claims: %s", a.Body)
	}
}

func TestNoUserSetsTheSubjectOrAnotherClaimOfTheProtocol(t *testing.T) {
	w := newServer(t)
	u := servertest.User()
	reserved := []string{"sub", "iss", "aud", "exp", "iat", "nbf", "jti", "azp", "nonce", "auth_time", "acr", "amr", "sid", "client_id", "scope", "act", "may_act", "cnf", "events", "identity_provider"}
	asked := map[string]map[string]any{"userinfo": {}}
	for _, name := range reserved {
		u.Claims[name], asked["userinfo"][name] = "forged", nil
	}
	w.AddUser(u)
	parameter, err := json.Marshal(asked)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient()
	c.IDTokenClaims = reserved
	w.AddClient(c)
	authorization := w.Authorization(c, "openid", "profile", "email")
	authorization.ClaimsRequest = string(parameter)
	a := w.RequireOK(getUserInfo(w, w.RequireOK(w.Redeem(c, w.Code(authorization))).String("access_token")))
	if a.String("sub") != servertest.Subject {
		t.Errorf("the subject is %v", a.JSON["sub"])
	}
	for name, value := range a.JSON {
		if value == "forged" {
			t.Errorf("%s is what the user says", name)
		}
	}
}

func TestTheClaimsParameterAsksForMoreWithinTheScopes(t *testing.T) {
	w := newServer(t)
	w.AddUser(newUserWithAllClaims())
	c := w.AddClient(newClient())
	claims := func(scopes []string, parameter string) map[string]any {
		authorization := w.Authorization(c, scopes...)
		authorization.ClaimsRequest = parameter
		return w.RequireOK(getUserInfo(w, w.RequireOK(w.Redeem(c, w.Code(authorization))).String("access_token"))).JSON
	}
	request := `{"userinfo":{"department":null,"email":{"essential":true},"sub":null,"iss":null,"exp":null},"id_token":{"given_name":null}}`
	want := map[string]any{"sub": servertest.Subject, "identity_provider": "local", "name": "Alice", "given_name": "Alice", "preferred_username": "alice", "department": "sales"}
	if got := claims([]string{"openid", "profile"}, request); !reflect.DeepEqual(got, want) {
		t.Errorf("the claims are %v, want %v", got, want)
	}
	if got := claims([]string{"openid"}, request); !reflect.DeepEqual(got, map[string]any{"sub": servertest.Subject, "identity_provider": "local"}) {
		t.Errorf("without a scope that allows them the claims are %v", got)
	}
	for _, broken := range []string{"{", "[]", `{"userinfo":[]}`, `{"userinfo":"department"}`, "null"} {
		if got := claims([]string{"openid"}, broken); !reflect.DeepEqual(got, map[string]any{"sub": servertest.Subject, "identity_provider": "local"}) {
			t.Errorf("for %s the claims are %v", broken, got)
		}
	}
}

func TestTheSubjectIsTheIDTokens(t *testing.T) {
	w := newServer(t)
	a := w.IssueTokens(w.AddClient(newClient()), "openid")
	if got, want := w.RequireOK(getUserInfo(w, a.String("access_token"))).JSON["sub"], w.Claims(a.String("id_token"))["sub"]; got != want || got == "" {
		t.Errorf("sub is %v, in the ID token %v", got, want)
	}
}

func TestClaimsAndScopesAreThoseOfThisMoment(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newClient())
	access := w.IssueTokens(c, "openid", "email").String("access_token")
	u := servertest.User()
	u.Claims["email"] = "alice@new.example"
	w.AddUser(u)
	if got := w.RequireOK(getUserInfo(w, access)).JSON["email"]; got != "alice@new.example" {
		t.Errorf("email is %v", got)
	}
	c.Scopes = []string{"openid"}
	w.AddClient(c)
	if _, has := w.RequireOK(getUserInfo(w, access)).JSON["email"]; has {
		t.Error("email is there although the client may no longer have it")
	}
}

func TestAClaimThatWasGrantedByItselfIsThereWhileTheClientMayHaveItsScope(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newClient())
	a := w.Authorization(c, "openid")
	a.ClaimsRequest, a.Claims = `{"userinfo":{"name":{"essential":true},"department":null},"id_token":{"email":null}}`, []string{"email", "name"}
	answer := w.RequireOK(w.Redeem(c, w.Code(w.Consent(a))))
	for range 2 {
		got := w.RequireOK(getUserInfo(w, answer.String("access_token"))).JSON
		if got["name"] != "Alice" || got["email"] != nil || got["department"] != nil || got["preferred_username"] != nil {
			t.Errorf("/userinfo says %v", got)
		}
		if claims := w.Claims(answer.String("id_token")); claims["email"] != "alice@example.com" || claims["name"] != nil {
			t.Errorf("the ID token says %v", claims)
		}
		answer = w.RequireOK(w.Refresh(c, answer.String("refresh_token")))
	}
	c.Scopes = []string{"openid", "email"}
	w.AddClient(c)
	if got := w.RequireOK(getUserInfo(w, answer.String("access_token"))).JSON; got["name"] != nil {
		t.Errorf("although the client may not have profile any more, /userinfo says %v", got)
	}
}

func TestAClaimThatWasNotGrantedIsNotThere(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newClient())
	a := w.Authorization(c, "openid")
	a.ClaimsRequest = `{"userinfo":{"name":null},"id_token":{"name":null}}`
	answer := w.RequireOK(w.Redeem(c, w.Code(a)))
	if got := w.RequireOK(getUserInfo(w, answer.String("access_token"))).JSON; got["name"] != nil {
		t.Errorf("/userinfo says %v", got)
	}
	if claims := w.Claims(answer.String("id_token")); claims["name"] != nil {
		t.Errorf("the ID token says %v", claims)
	}
}

func TestAnImplicitTokenBringsTheClaimsThatWereGrantedByThemselves(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newClient())
	served, _ := w.Registry.Client(c.ID)
	token, _, err := w.Minter.AccessToken(mint.AccessTokenInput{
		Client: served, Subject: servertest.Subject, Audience: []string{servertest.Issuer}, Scopes: []string{"openid"},
		TokenID: mint.TokenID{ClientUID: c.UID, UserUID: "alice-uid", UserEpoch: "epoch-1", StoreID: w.Grants.StoreID, Claims: []string{"name"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.RequireOK(getUserInfo(w, token)).JSON; got["name"] != "Alice" || got["email"] != nil {
		t.Errorf("/userinfo says %v", got)
	}
}

func TestAnImplicitTokenIsGoodWhileItsSessionIs(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newClient())
	served, _ := w.Registry.Client(c.ID)
	token, _, err := w.Minter.AccessToken(mint.AccessTokenInput{
		Client: served, Subject: servertest.Subject, Audience: []string{servertest.Issuer}, Scopes: []string{"openid", "email"},
		TokenID: mint.TokenID{ClientUID: c.UID, UserUID: "alice-uid", UserEpoch: "epoch-1", SessionHash: "session-1", StoreID: w.Grants.StoreID},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.RequireOK(getUserInfo(w, token)).JSON["email"]; got != "alice@example.com" {
		t.Errorf("email is %v", got)
	}
	if err := w.Memory.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: "session-1", ExpiresAt: w.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	checkChallenge(t, "after logout", getUserInfo(w, token), 401, "invalid_token")
}

func TestAnImplicitTokenBringsTheClaimsThatItsRequestWanted(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newClient())
	served, _ := w.Registry.Client(c.ID)
	ask := func(scopes ...string) any {
		token, _, err := w.Minter.AccessToken(mint.AccessTokenInput{
			Client: served, Subject: servertest.Subject, Audience: []string{servertest.Issuer}, Scopes: scopes,
			TokenID: mint.TokenID{
				ClientUID: c.UID, UserUID: "alice-uid", UserEpoch: "epoch-1", SessionHash: "session-1", StoreID: w.Grants.StoreID,
				RequestedClaims: []string{"department"},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return w.RequireOK(getUserInfo(w, token)).JSON["department"]
	}
	if got := ask("openid", "profile"); got != "sales" {
		t.Errorf("department is %v", got)
	}
	if got := ask("openid"); got != nil {
		t.Errorf("without a scope for it, department is %v", got)
	}
}

func TestNothingIsWritten(t *testing.T) {
	w := newServer(t)
	access := w.IssueTokens(w.AddClient(newClient()), "openid").String("access_token")
	before := w.Store.Writes()
	w.RequireOK(getUserInfo(w, access))
	getUserInfo(w, "unknown")
	if w.Store.Writes() != before {
		t.Error("a UserInfo request wrote something")
	}
}
