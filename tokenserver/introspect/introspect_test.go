package introspect_test

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/introspect"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
	"github.com/oauth-operator/oauth-operator/tokenserver/token"
)

// testServer has two APIs, each with a client that introspects for it, and a client that gets a
// user's tokens for both.
type testServer struct {
	*servertest.Server
	orders, stock, shop documents.Client
}

func newTestServer(t *testing.T) *testServer {
	t.Helper()
	w := &testServer{Server: servertest.New(t)}
	tokens := &token.Handler{Clients: w.Clients, Grants: w.Grants, Minter: w.Minter, Registry: w.Registry, Passwords: w.Passwords, Throttle: w.Throttle}
	w.Handle("/token", tokens.Handle)
	w.Handle("/introspect", (&introspect.Handler{Clients: w.Clients, Grants: w.Grants, Registry: w.Registry}).Handle)
	w.orders, w.stock = w.AddClient(newIntrospectionClient("orders-api")), w.AddClient(newIntrospectionClient("stock-api"))
	w.AddResourceServer(w.newResourceServer(servertest.Orders, "orders-api", "orders:read", "orders:write"))
	w.AddResourceServer(w.newResourceServer(servertest.Stock, "stock-api", "stock:read"))
	w.shop = w.AddClient(servertest.Client("shop.web"))
	return w
}

// newIntrospectionClient returns a client for the introspection endpoint.
func newIntrospectionClient(name string) documents.Client {
	c := servertest.Client("apis." + name)
	c.Namespace, c.Name = "apis", name
	c.GrantTypes, c.RedirectURIs, c.Scopes = []string{oauth.GrantClientCredentials}, nil, nil
	return c
}

// newResourceServer returns a resource server that lists a client of its namespace.
func (w *testServer) newResourceServer(identifier, lists string, scopes ...string) documents.ResourceServer {
	rs := servertest.ResourceServer(identifier, scopes...)
	rs.IntrospectionClients = []documents.ClientName{{Namespace: "apis", Name: lists}}
	return rs
}

func (w *testServer) introspect(caller documents.Client, token string, pairs ...string) servertest.Answer {
	return w.Post("/introspect", caller, append([]string{"token", token}, pairs...)...)
}

// checkInactive fails the test unless the answer says that the token is not active, and nothing
// else.
func checkInactive(t *testing.T, what string, a servertest.Answer) {
	t.Helper()
	if a.Status != http.StatusOK || a.Body != `{"active":false}` {
		t.Errorf("%s: the answer is %d %s, want 200 and only active:false", what, a.Status, a.Body)
	}
	if h := a.Header; h.Get("Cache-Control") != "no-store" || h.Get("Pragma") != "no-cache" || h.Get("Content-Type") != "application/json" {
		t.Errorf("%s: Cache-Control %q, Pragma %q, Content-Type %q", what, h.Get("Cache-Control"), h.Get("Pragma"), h.Get("Content-Type"))
	}
}

func checkFields(t *testing.T, a servertest.Answer, want map[string]any) {
	t.Helper()
	if a.Status != http.StatusOK || !reflect.DeepEqual(a.JSON, want) {
		t.Errorf("the answer is %d %v, want %v", a.Status, a.JSON, want)
	}
}

func TestATokensOwnClientIsToldAllOfIt(t *testing.T) {
	w := newTestServer(t)
	now := float64(w.Now().Unix())
	access := w.IssueTokens(w.shop, "openid", "orders:read", "stock:read").String("access_token")
	a := w.introspect(w.shop, access)
	checkFields(t, a, map[string]any{
		"active": true, "iss": servertest.Issuer, "sub": servertest.Subject, "identity_provider": "local", "client_id": "shop.web", "token_type": "Bearer",
		"aud": []any{servertest.Orders, servertest.Stock, servertest.Issuer}, "scope": "openid orders:read stock:read",
		"iat": now, "exp": now + 300, "auth_time": now - 60, "acr": oauth.ACRPassword, "amr": []any{"pwd"}, "jti": w.Claims(access)["jti"],
	})
	if w.Store.Writes() != 1 {
		t.Errorf("there were %d writes, want only the one of the redemption", w.Store.Writes())
	}
}

func TestAnAPIIsToldWhatConcernsIt(t *testing.T) {
	w := newTestServer(t)
	now := float64(w.Now().Unix())
	access := w.IssueTokens(w.shop, "openid", "profile", "orders:read", "stock:read").String("access_token")
	want := map[string]any{
		"active": true, "iss": servertest.Issuer, "sub": servertest.Subject, "identity_provider": "local", "client_id": "shop.web", "token_type": "Bearer",
		"aud": servertest.Orders, "scope": "orders:read",
		"iat": now, "exp": now + 300, "auth_time": now - 60, "acr": oauth.ACRPassword, "amr": []any{"pwd"}, "jti": w.Claims(access)["jti"],
	}
	checkFields(t, w.introspect(w.orders, access), want)
	want["aud"], want["scope"] = servertest.Stock, "stock:read"
	checkFields(t, w.introspect(w.stock, access), want)

	both := w.newResourceServer(servertest.Stock, "stock-api", "stock:read")
	both.IntrospectionClients = append(both.IntrospectionClients, documents.ClientName{Namespace: "apis", Name: "orders-api"})
	w.AddResourceServer(both)
	want["aud"], want["scope"] = []any{servertest.Orders, servertest.Stock}, "orders:read stock:read"
	checkFields(t, w.introspect(w.orders, access), want)
}

func TestATokenOfAServiceIsAboutTheService(t *testing.T) {
	w := newTestServer(t)
	c := servertest.Client("shop.service")
	c.GrantTypes, c.RedirectURIs = []string{oauth.GrantClientCredentials}, nil
	w.AddClient(c)
	now := float64(w.Now().Unix())
	access := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials", "scope", "orders:write")).String("access_token")
	checkFields(t, w.introspect(w.orders, access), map[string]any{
		"active": true, "iss": servertest.Issuer, "sub": "shop.service", "client_id": "shop.service", "token_type": "Bearer",
		"aud": servertest.Orders, "scope": "orders:write", "iat": now, "exp": now + 300, "jti": w.Claims(access)["jti"],
	})
}

func TestToAnyoneElseATokenIsInactive(t *testing.T) {
	w := newTestServer(t)
	access := w.IssueTokens(w.shop, "openid", "orders:read").String("access_token")
	namesake := newIntrospectionClient("orders-api")
	namesake.ID, namesake.UID, namesake.Namespace = "other.orders-api", "namesake-uid", "other"
	for what, caller := range map[string]documents.Client{
		"another client with users":                 w.AddClient(servertest.Client("shop.other")),
		"a client that another API lists":           w.stock,
		"a client of that name in another place":    w.AddClient(namesake),
		"a client in the API's namespace, unlisted": w.AddClient(newIntrospectionClient("orders-worker")),
	} {
		checkInactive(t, what, w.introspect(caller, access))
	}
	if got := w.introspect(w.orders, access); got.JSON["active"] != true {
		t.Errorf("the API that is listed is told %s", got.Body)
	}
	unlisted := w.newResourceServer(servertest.Orders, "unlisted", "orders:read", "orders:write")
	w.AddResourceServer(unlisted)
	checkInactive(t, "a client that is listed no longer", w.introspect(w.orders, access))
}

func TestATokenForOneAPIIsInactiveToAnother(t *testing.T) {
	w := newTestServer(t)
	access := w.RequireOK(w.Redeem(w.shop, w.Code(w.Authorization(w.shop, "openid", "orders:read", "stock:read")), "resource", servertest.Stock)).String("access_token")
	checkInactive(t, "the other API", w.introspect(w.orders, access))
	if a := w.introspect(w.stock, access); a.JSON["active"] != true {
		t.Errorf("the API of the token is told %s", a.Body)
	}
}

func TestIntrospectionIsForConfidentialClientsThatAuthenticate(t *testing.T) {
	w := newTestServer(t)
	public := w.AddClient(servertest.Public(servertest.Client("shop.spa")))
	access := w.IssueTokens(public, "openid", "orders:read").String("access_token")
	anonymous := w.Form("/introspect", documents.Client{}, "token", access)
	named := w.Form("/introspect", documents.Client{}, "token", access, "client_id", w.orders.ID)
	wrong := w.Form("/introspect", w.orders, "token", access)
	wrong.SetBasicAuth(w.orders.ID, "wrong")
	bearer := w.Form("/introspect", documents.Client{}, "token", access)
	bearer.Header.Set("Authorization", "Bearer "+access)
	suspended := newIntrospectionClient("suspended")
	suspended.Suspended = true
	w.AddClient(suspended)
	for what, r := range map[string]*http.Request{
		"no client": anonymous, "an identifier alone": named, "a wrong secret": wrong, "the token itself": bearer,
		"the token's own client, a public one": w.Form("/introspect", public, "token", access),
		"a suspended client":                   w.Form("/introspect", suspended, "token", access),
	} {
		a := w.Do(r)
		if a.Status != http.StatusUnauthorized || a.ErrorCode() != "invalid_client" {
			t.Errorf("%s: the answer is %d %s, want 401 invalid_client", what, a.Status, a.Body)
		}
		if a.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: there is no challenge", what)
		}
	}
}

func TestARefreshTokenIsShownToItsOwnClientOnly(t *testing.T) {
	w := newTestServer(t)
	begun := w.Now()
	refresh := w.IssueTokens(w.shop, "openid", "offline_access", "orders:read").String("refresh_token")
	w.Advance(time.Hour)
	checkFields(t, w.introspect(w.shop, refresh), map[string]any{
		"active": true, "iss": servertest.Issuer, "sub": servertest.Subject, "identity_provider": "local", "client_id": "shop.web", "scope": "openid offline_access orders:read",
		"iat": float64(begun.Unix()), "exp": float64(begun.Add(720 * time.Hour).Unix()),
	})
	checkInactive(t, "an API that is listed", w.introspect(w.orders, refresh))
	checkInactive(t, "another client", w.introspect(w.AddClient(servertest.Client("shop.other")), refresh))
}

func TestARefreshTokenIsInactiveOnceItCannotBeUsed(t *testing.T) {
	for what, takeAway := range map[string]func(w *testServer){
		"the client may refresh no longer": func(w *testServer) {
			c := w.shop
			c.GrantTypes = []string{oauth.GrantAuthorizationCode}
			w.AddClient(c)
		},
		"it may not be offline any more": func(w *testServer) {
			c := w.shop
			c.Scopes = []string{"openid", "orders:read"}
			w.AddClient(c)
		},
		"it was not used for too long": func(w *testServer) { w.Advance(720 * time.Hour) },
		"the password changed": func(w *testServer) {
			u := servertest.User()
			u.Epoch = "epoch-2"
			w.AddUser(u)
		},
	} {
		w := newTestServer(t)
		refresh := w.IssueTokens(w.shop, "openid", "offline_access", "orders:read").String("refresh_token")
		takeAway(w)
		checkInactive(t, what, w.introspect(w.shop, refresh))
	}
}

func TestARefreshTokenSaysWhenItsLifetimesEndIt(t *testing.T) {
	w := newTestServer(t)
	begun := w.Now()
	online := w.IssueTokens(w.shop, "openid").String("refresh_token")
	login := begun.Add(-time.Minute)
	if got := w.introspect(w.shop, online).JSON["exp"]; got != float64(login.Add(24*time.Hour).Unix()) {
		t.Errorf("a refresh token that ends with its session has exp %v", got)
	}
	offline := w.IssueTokens(w.shop, "openid", "offline_access").String("refresh_token")
	w.ChangeDocument(func(s *documents.Server) { s.RefreshToken.AbsoluteLifetime = 7200 })
	if got := w.introspect(w.shop, offline).JSON["exp"]; got != float64(begun.Add(2*time.Hour).Unix()) {
		t.Errorf("under a lifetime that was lowered exp is %v", got)
	}
}

func TestAskingAboutAUsedRefreshTokenIsNoReuse(t *testing.T) {
	w := newTestServer(t)
	first := w.IssueTokens(w.shop, "openid", "offline_access").String("refresh_token")
	second := w.RequireOK(w.Refresh(w.shop, first)).String("refresh_token")
	w.Advance(time.Hour)
	checkInactive(t, "a token that was used", w.introspect(w.shop, first))
	if a := w.introspect(w.shop, second); a.JSON["active"] != true {
		t.Errorf("its successor is %s", a.Body)
	}
	w.RequireOK(w.Refresh(w.shop, second))
}

func TestAWrongHintStillFindsTheToken(t *testing.T) {
	w := newTestServer(t)
	a := w.IssueTokens(w.shop, "openid", "offline_access")
	for _, token := range []string{a.String("access_token"), a.String("refresh_token")} {
		for _, hint := range []string{"access_token", "refresh_token", "id_token", "unknown", ""} {
			if got := w.introspect(w.shop, token, "token_type_hint", hint); got.JSON["active"] != true {
				t.Errorf("with the hint %q the answer is %s", hint, got.Body)
			}
		}
	}
}

func TestWhatIsNoTokenIsInactive(t *testing.T) {
	w := newTestServer(t)
	a := w.IssueTokens(w.shop, "openid", "orders:read")
	forged := w.ForgedTokens(a.String("access_token"))
	forged["an ID token"] = a.String("id_token")
	for what, value := range forged {
		checkInactive(t, what, w.introspect(w.shop, value))
		checkInactive(t, what, w.introspect(w.orders, value))
	}
	if got := w.introspect(w.shop, a.String("access_token")); got.JSON["active"] != true {
		t.Errorf("the token itself is %s", got.Body)
	}
}

// invalidations are changes that make every token of a user inactive.
var invalidations = map[string]func(t *testing.T, w *testServer){
	"the client is suspended": func(_ *testing.T, w *testServer) {
		c := w.shop
		c.Suspended = true
		w.AddClient(c)
	},
	"the client is gone": func(_ *testing.T, w *testServer) { w.RemoveClient(w.shop.ID) },
	"no rule allows the client": func(_ *testing.T, w *testServer) {
		w.ChangeDocument(func(s *documents.Server) {
			s.AllowedClients[0].ClientIDs, s.AllowedClients[0].GrantTypes = nil, []string{"client_credentials"}
		})
	},
	"the client was created again": func(_ *testing.T, w *testServer) {
		w.RemoveClient(w.shop.ID)
		c := w.shop
		c.UID = "another-uid"
		w.AddClient(c)
	},
	"the user is gone": func(_ *testing.T, w *testServer) { w.RemoveUser(servertest.User()) },
	"the user is suspended": func(_ *testing.T, w *testServer) {
		u := servertest.User()
		u.Suspended = true
		w.AddUser(u)
	},
	"the user was created again": func(_ *testing.T, w *testServer) {
		u := servertest.User()
		w.RemoveUser(u)
		u.UID = "another-uid"
		w.AddUser(u)
	},
	"the client is for users of other groups": func(_ *testing.T, w *testServer) {
		w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].Groups = []string{"ops", "dev"} })
	},
	"the client is for users of other providers": func(_ *testing.T, w *testServer) {
		w.ChangeDocument(func(s *documents.Server) { s.AllowedClients[0].IdentityProviders = []string{"acme"} })
	},
	"the password changed": func(_ *testing.T, w *testServer) {
		u := servertest.User()
		u.Epoch = "epoch-2"
		w.AddUser(u)
	},
	"the session ended": func(t *testing.T, w *testServer) {
		if err := w.Memory.SetMark(t.Context(), storage.Mark{Kind: storage.MarkSession, ID: "session-1", ExpiresAt: w.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	},
	"the key was revoked": func(_ *testing.T, w *testServer) {
		w.ChangeDocument(func(s *documents.Server) {
			for _, key := range s.Keys {
				if key.Algorithm == "ES256" {
					s.RevokedKeys = append(s.RevokedKeys, key.KID)
				}
			}
		})
	},
	"it expired": func(_ *testing.T, w *testServer) { w.Advance(300 * time.Second) },
}

// endGrant makes a token with a grant inactive.
func endGrant(t *testing.T, w *testServer) {
	if err := w.Grants.End(t.Context(), w.StoredGrants()[0].ID, storage.EndRevoked); err != nil {
		t.Fatal(err)
	}
}

// userInvalidations are changes that make every token inactive that a user authorized at the
// authorization endpoint.
var userInvalidations = map[string]func(t *testing.T, w *testServer){
	"the consent was withdrawn": func(_ *testing.T, w *testServer) { w.WithdrawConsent(w.shop.UID) },
	"the consent was withdrawn, and given again": func(_ *testing.T, w *testServer) {
		w.WithdrawConsent(w.shop.UID)
		w.Consent(w.Authorization(w.shop, "openid", "orders:read"))
	},
	"the redirect URI was removed": func(_ *testing.T, w *testServer) {
		c := w.shop
		c.RedirectURIs = []string{"https://shop.example.com/other"}
		w.AddClient(c)
	},
}

func TestATokenOfAGrantEndsWithThePreconditionsOfTheGrant(t *testing.T) {
	all := maps.Clone(invalidations)
	maps.Copy(all, userInvalidations)
	all["the grant was ended"] = endGrant
	for what, takeAway := range all {
		t.Run(what, func(t *testing.T) {
			w := newTestServer(t)
			access := w.RequireOK(w.Redeem(w.shop, w.Code(w.Consent(w.Authorization(w.shop, "openid", "orders:read"))))).String("access_token")
			if a := w.introspect(w.orders, access); a.JSON["active"] != true {
				t.Fatalf("before, the answer is %s", a.Body)
			}
			takeAway(t, w)
			checkInactive(t, "after", w.introspect(w.orders, access))
		})
	}
}

// issueImplicitToken returns an access token as the authorization endpoint issues it.
func (w *testServer) issueImplicitToken(t *testing.T, scopes ...string) string {
	t.Helper()
	client, _ := w.Registry.Client(w.shop.ID)
	a := w.Consent(w.Authorization(w.shop, scopes...))
	audience, _, err := client.ResolveAudience(scopes, nil)
	if err != nil {
		t.Fatal(err)
	}
	access, _, err := w.Minter.AccessToken(mint.AccessTokenInput{
		Client: client, Subject: servertest.Subject, Audience: audience, Scopes: scopes,
		TokenID: mint.TokenID{
			ClientUID: client.UID, UserUID: a.UserUID, UserEpoch: a.UserEpoch, SessionHash: a.SessionHash, StoreID: w.Grants.StoreID,
			RedirectHash: mint.HashRedirectURI(a.RedirectURI), ConsentUID: a.ConsentUID, Binding: client.PackBinding(scopes, audience),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return access
}

// recreateOrders deletes the resource server of the orders and creates another one with its
// identifier and scopes, for the client of another team, which it returns.
func (w *testServer) recreateOrders() (theirs documents.Client) {
	w.RemoveResourceServer(servertest.Orders)
	theirs = w.AddClient(newIntrospectionClient("another-api"))
	again := w.newResourceServer(servertest.Orders, "another-api", "orders:read", "orders:write")
	again.UID = "another-uid"
	w.AddResourceServer(again)
	return theirs
}

func TestAResourceServerThatIsCreatedAgainInheritsNoTokenAndTheOtherAudiencesLive(t *testing.T) {
	tokens := map[string]func(w *testServer) string{
		"of a grant": func(w *testServer) string {
			return w.RequireOK(w.Redeem(w.shop, w.Code(w.Consent(w.Authorization(w.shop, "openid", "orders:read", "stock:read"))))).String("access_token")
		},
		"of a grant for resources": func(w *testServer) string {
			a := w.Authorization(w.shop, "openid", "orders:read", "stock:read")
			a.Resources = []string{servertest.Stock, servertest.Orders, servertest.Issuer}
			return w.RequireOK(w.Redeem(w.shop, w.Code(a))).String("access_token")
		},
		"implicit": func(w *testServer) string { return w.issueImplicitToken(t, "openid", "orders:read", "stock:read") },
		"of a machine": func(w *testServer) string {
			c := w.shop
			c.GrantTypes = append(slices.Clone(c.GrantTypes), oauth.GrantClientCredentials)
			w.AddClient(c)
			return w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials", "scope", "orders:read stock:read")).String("access_token")
		},
		"by password": func(w *testServer) string {
			c := w.shop
			c.GrantTypes = append(slices.Clone(c.GrantTypes), oauth.GrantPassword)
			w.AddClient(c)
			return w.RequireOK(w.Post("/token", c, "grant_type", "password", "username", servertest.Username, "password", servertest.Password,
				"scope", "openid orders:read stock:read")).String("access_token")
		},
	}
	for name, issue := range tokens {
		t.Run(name, func(t *testing.T) {
			w := newTestServer(t)
			access := issue(w)
			if a := w.introspect(w.orders, access); a.JSON["active"] != true || a.JSON["scope"] != "orders:read" {
				t.Fatalf("before, the answer is %s", a.Body)
			}
			theirs := w.recreateOrders()
			checkInactive(t, "the client of the one that was created again", w.introspect(theirs, access))
			if a := w.introspect(w.stock, access); a.JSON["active"] != true || a.JSON["scope"] != "stock:read" || a.JSON["aud"] != servertest.Stock {
				t.Errorf("the other API is told %s", a.Body)
			}
			scope, audience := w.introspect(w.shop, access).String("scope"), fmt.Sprint(w.introspect(w.shop, access).JSON["aud"])
			if strings.Contains(scope, "orders") || !strings.Contains(scope, "stock:read") || strings.Contains(audience, servertest.Orders) {
				t.Errorf("the token's own client is told of the scope %q for %s", scope, audience)
			}
		})
	}
}

func TestATokenForAResourceServerAloneDiesWhenThatIsCreatedAgain(t *testing.T) {
	w := newTestServer(t)
	c := w.shop
	c.GrantTypes = append(slices.Clone(c.GrantTypes), oauth.GrantClientCredentials)
	w.AddClient(c)
	withoutScopes := c
	withoutScopes.Scopes = nil
	access := map[string]string{
		"with a scope": w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials", "scope", "orders:read")).String("access_token"),
		"of a grant":   w.IssueTokens(c, "orders:read").String("access_token"),
	}
	w.AddClient(withoutScopes)
	access["without scopes"] = w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials", "resource", servertest.Orders)).String("access_token")
	w.AddClient(c)
	theirs := w.recreateOrders()
	for what, token := range access {
		checkInactive(t, what, w.introspect(theirs, token))
		checkInactive(t, what+", to its own client", w.introspect(c, token))
	}
}

// A token of the implicit grant has no record. Its id contains what it depends on.
func TestATokenWithoutAGrantEndsWithItsPreconditions(t *testing.T) {
	all := maps.Clone(invalidations)
	maps.Copy(all, userInvalidations)
	for what, takeAway := range all {
		t.Run(what, func(t *testing.T) {
			w := newTestServer(t)
			access := w.issueImplicitToken(t, "orders:read")
			if a := w.introspect(w.orders, access); a.JSON["active"] != true {
				t.Fatalf("before, the answer is %s", a.Body)
			}
			takeAway(t, w)
			checkInactive(t, "after", w.introspect(w.orders, access))
		})
	}
}

func TestAnOfflineGrantsTokenOutlivesTheSession(t *testing.T) {
	w := newTestServer(t)
	a := w.IssueTokens(w.shop, "openid", "offline_access", "orders:read")
	invalidations["the session ended"](t, w)
	for _, token := range []string{a.String("access_token"), a.String("refresh_token")} {
		if got := w.introspect(w.shop, token); got.JSON["active"] != true {
			t.Errorf("the answer is %s", got.Body)
		}
	}
}

func TestScopesAreCutToWhatTheClientMayHaveNow(t *testing.T) {
	w := newTestServer(t)
	a := w.IssueTokens(w.shop, "openid", "email", "offline_access", "orders:read", "orders:write")
	c := w.shop
	c.Scopes = []string{"openid", "offline_access", "orders:read"}
	w.AddClient(c)
	for _, token := range []string{a.String("access_token"), a.String("refresh_token")} {
		if got := w.introspect(w.shop, token).String("scope"); got != "openid offline_access orders:read" {
			t.Errorf("the client is told the scope %q", got)
		}
	}
	if got := w.introspect(w.orders, a.String("access_token")).String("scope"); got != "orders:read" {
		t.Errorf("the API is told the scope %q", got)
	}
}

func TestAnAPIThatNoLongerAllowsTheClientSeesItsTokensInactive(t *testing.T) {
	for what, takeAway := range map[string]func(w *testServer){
		"its own rules": func(w *testServer) {
			rs := w.newResourceServer(servertest.Orders, "orders-api", "orders:read", "orders:write")
			rs.AllowedClients[0].Namespaces = documents.Namespaces{Names: []string{"elsewhere"}}
			w.AddResourceServer(rs)
		},
		"the server's rules": func(w *testServer) {
			w.ChangeDocument(func(s *documents.Server) { s.AllowedResourceServers[0].Identifiers = []string{servertest.Stock} })
		},
		"it is gone": func(w *testServer) { w.RemoveResourceServer(servertest.Orders) },
	} {
		t.Run(what, func(t *testing.T) {
			w := newTestServer(t)
			both := w.IssueTokens(w.shop, "orders:read", "stock:read").String("access_token")
			only := w.IssueTokens(w.shop, "orders:read").String("access_token")
			bare := w.RequireOK(w.Redeem(w.shop, w.Code(w.Authorization(w.shop, "openid", "orders:read")), "resource", servertest.Orders)).String("access_token")
			takeAway(w)
			for _, token := range []string{both, only, bare} {
				checkInactive(t, "the API", w.introspect(w.orders, token))
			}
			checkInactive(t, "the client, of a token for this API alone", w.introspect(w.shop, only))
			checkInactive(t, "the client, of a token for this API alone", w.introspect(w.shop, bare))
			if a := w.introspect(w.shop, both); a.JSON["aud"] != servertest.Stock || a.String("scope") != "stock:read" {
				t.Errorf("the client is told %s", a.Body)
			}
			if a := w.introspect(w.stock, both); a.JSON["active"] != true {
				t.Errorf("the other API is told %s", a.Body)
			}
		})
	}
}

func TestAnAnswerThatIsNotKnownIsNotInactive(t *testing.T) {
	w := newTestServer(t)
	begun := w.IssueTokens(w.shop, "openid", "orders:read")
	for what, fail := range map[string]func(){
		"the record cannot be read":              func() { w.Store.Fail("GetGrant", storagetest.Unavailable) },
		"the session's mark cannot be read":      func() { w.Store.Fail("IsMarked", storagetest.Unavailable) },
		"the access token's mark cannot be read": func() { w.Store.Fail("IsMarked", storagetest.None, storagetest.Unavailable) },
	} {
		fail()
		a := w.introspect(w.shop, begun.String("access_token"))
		if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: the answer is %d %s", what, a.Status, a.Body)
		}
	}
	w.Store.Fail("GetGrant", storagetest.Unavailable)
	if a := w.introspect(w.shop, begun.String("refresh_token")); a.Status != http.StatusServiceUnavailable {
		t.Errorf("of a refresh token: the answer is %d %s", a.Status, a.Body)
	}
}

func TestARequestThatIsNoneIsRefused(t *testing.T) {
	w := newTestServer(t)
	access := w.IssueTokens(w.shop, "openid").String("access_token")
	w.CheckError(w.Post("/introspect", w.shop), 400, "invalid_request")
	w.CheckError(w.Post("/introspect", w.shop, "token", ""), 400, "invalid_request")
	w.CheckError(w.Post("/introspect", w.shop, "token", access, "token", access), 400, "invalid_request")
	w.CheckError(w.Do(w.Form("/introspect?token=x", w.shop, "token", access)), 400, "invalid_request")
	w.CheckError(w.Do(w.Form("/introspect?client_secret="+servertest.Secret, w.shop, "token", access)), 400, "invalid_request")
	json := w.Form("/introspect", w.shop, "token", access)
	json.Header.Set("Content-Type", "application/json")
	w.CheckError(w.Do(json), 400, "invalid_request")
}
