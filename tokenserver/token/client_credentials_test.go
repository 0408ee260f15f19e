package token_test

import (
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
)

func TestAServiceGetsNoRefreshTokenAndCausesNoWrite(t *testing.T) {
	w := newServer(t)
	c := newServiceClient()
	c.GrantTypes = append(c.GrantTypes, oauth.GrantAuthorizationCode, oauth.GrantRefreshToken)
	w.AddClient(c)
	for range 3 {
		a := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials"))
		if a.String("refresh_token") != "" || a.String("id_token") != "" {
			t.Errorf("the answer is %s", a.Body)
		}
	}
	if w.Store.Writes() != 0 || w.Store.Calls("GetGrant") != 0 {
		t.Errorf("%d writes and %d reads, want none", w.Store.Writes(), w.Store.Calls("GetGrant"))
	}
}

func TestAPublicClientCannotActForItself(t *testing.T) {
	w := newServer(t)
	c := servertest.Public(newServiceClient())
	w.AddClient(c)
	w.CheckError(w.Post("/token", c, "grant_type", "client_credentials"), 400, "unauthorized_client")
	c.GrantTypes = []string{oauth.GrantPassword}
	w.AddClient(c)
	w.CheckError(w.Post("/token", c, "grant_type", "password", "username", "alice", "password", servertest.Password), 400, "unauthorized_client")
}

func TestAServiceNeverGetsIdentityScopes(t *testing.T) {
	w := newServer(t)
	c := newServiceClient()
	c.Scopes = append(c.Scopes, oauth.BuiltInScopes...)
	w.AddClient(c)
	for _, scope := range oauth.BuiltInScopes {
		a := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials", "scope", "orders:read "+scope))
		if got := a.String("scope"); got != "orders:read" {
			t.Errorf("with %s, a service gets %q", scope, got)
		}
		a = w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials", "scope", scope))
		if !strings.Contains(a.Body, `"scope":""`) || a.String("id_token") != "" {
			t.Errorf("with %s alone, the answer is %s", scope, a.Body)
		}
		if claims := w.Claims(a.String("access_token")); claims["scope"] != nil || claims["aud"] != servertest.Issuer {
			t.Errorf("with %s alone, the token says %v", scope, claims)
		}
	}
	a := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials"))
	if got := a.String("scope"); got != "orders:read orders:write stock:read" {
		t.Errorf("without scope, a service gets %q", got)
	}
}

func TestAScopeThatTheClientMayNotHaveIsInvalid(t *testing.T) {
	w := newServer(t)
	c := newServiceClient()
	c.Scopes = []string{"orders:read", "undeclared:scope"}
	w.AddClient(c)
	for _, scope := range []string{"orders:write", "unknown", "undeclared:scope", "orders:read orders:write", "Orders:read", "\"", "ä"} {
		w.CheckError(w.Post("/token", c, "grant_type", "client_credentials", "scope", scope), 400, "invalid_scope")
	}
	for _, absent := range [][]string{nil, {"scope", ""}} {
		a := w.RequireOK(w.Post("/token", c, append([]string{"grant_type", "client_credentials"}, absent...)...))
		if a.String("scope") != "orders:read" {
			t.Errorf("an absent scope gives %q", a.String("scope"))
		}
	}
}

func TestWithoutResourceTheAudienceIsTheOwnersOfTheScopes(t *testing.T) {
	w := newServer(t)
	c := newServiceClient()
	w.AddClient(c)
	bare := newServiceClient()
	bare.ID, bare.UID, bare.Name, bare.Scopes = "shop.bare", "bare-uid", "bare", nil
	w.AddClient(bare)
	for _, test := range []struct {
		scope string
		aud   []string
	}{
		{"orders:read", []string{servertest.Orders}},
		{"orders:read orders:write", []string{servertest.Orders}},
		{"orders:read stock:read", []string{servertest.Orders, servertest.Stock}},
	} {
		a := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials", "scope", test.scope))
		checkAudience(t, w, a, test.aud...)
	}
	checkAudience(t, w, w.RequireOK(w.Post("/token", bare, "grant_type", "client_credentials")), servertest.Issuer)
}

func TestAResourceIsTheAudienceAndCutsTheScopes(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newServiceClient())
	a := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials", "resource", servertest.Orders))
	checkAudience(t, w, a, servertest.Orders)
	if a.String("scope") != "orders:read orders:write" {
		t.Errorf("scope is %q", a.String("scope"))
	}
	a = w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials", "scope", "orders:read stock:read", "resource", servertest.Orders, "resource", servertest.Stock))
	checkAudience(t, w, a, servertest.Orders, servertest.Stock)
	if a.String("scope") != "orders:read stock:read" {
		t.Errorf("scope is %q", a.String("scope"))
	}
}

func TestAResourceThatIsNoneIsAnInvalidTarget(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newServiceClient())
	for _, resource := range []string{
		"/orders", "orders", "//orders.example.com", servertest.Orders + "#", servertest.Orders + "#part", "https://unknown.example.com",
		servertest.Orders + "//", "HTTPS://orders.example.com", ":",
	} {
		w.CheckError(w.Post("/token", c, "grant_type", "client_credentials", "resource", resource), 400, "invalid_target")
		w.CheckError(w.Post("/token", c, "grant_type", "client_credentials", "resource", servertest.Orders, "resource", resource), 400, "invalid_target")
	}
}

func TestAResourceServerHasItsSay(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newServiceClient())
	rs := servertest.ResourceServer(servertest.Orders, "orders:read", "orders:write")
	rs.AllowedClients[0].Namespaces.All, rs.AllowedClients[0].Namespaces.Names = false, []string{"other"}
	w.AddResourceServer(rs)
	w.CheckError(w.Post("/token", c, "grant_type", "client_credentials", "resource", servertest.Orders), 400, "invalid_target")
	w.CheckError(w.Post("/token", c, "grant_type", "client_credentials", "scope", "orders:read"), 400, "invalid_scope")
	a := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials"))
	if a.String("scope") != "stock:read" {
		t.Errorf("scope is %q", a.String("scope"))
	}
}

// A response without a scope means that all scopes were granted, so there must be none if no scope
// is left.
func TestATokenForNothingThatWasAskedIsRefused(t *testing.T) {
	w := newServer(t)
	c := newServiceClient()
	c.Scopes = []string{"stock:read"}
	w.AddClient(c)
	for _, asked := range [][]string{{"scope", "stock:read"}, nil} {
		pairs := append([]string{"grant_type", "client_credentials", "resource", servertest.Issuer}, asked...)
		w.CheckError(w.Post("/token", c, pairs...), 400, "invalid_scope")
	}
	p := newPasswordClient()
	p.Scopes = []string{"stock:read"}
	w.AddClient(p)
	w.CheckError(w.Post("/token", p, "grant_type", "password", "username", "alice", "password", servertest.Password, "resource", servertest.Issuer), 400, "invalid_scope")
	c.Scopes = nil
	w.AddClient(c)
	if a := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials", "resource", servertest.Issuer)); a.String("scope") != "" {
		t.Errorf("a client without scopes has %q", a.String("scope"))
	}
}

func TestAServicesRevokedTokenStaysRevokedAfterARestart(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newServiceClient())
	token := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials")).String("access_token")
	if !w.IsActive(token) {
		t.Fatal("the token is not active at first")
	}
	w.RequireOK(w.Post("/revoke", c, "token", token))
	w.Restart()
	if w.IsActive(token) {
		t.Error("it is active again")
	}
}

// checkAudience checks the audience of the access token, in any order.
func checkAudience(t *testing.T, w *servertest.Server, a servertest.Answer, want ...string) {
	t.Helper()
	got := map[string]bool{}
	switch aud := w.Claims(a.String("access_token"))["aud"].(type) {
	case string:
		got[aud] = true
	case []any:
		for _, one := range aud {
			got[one.(string)] = true
		}
	}
	if len(got) != len(want) {
		t.Errorf("aud is %v, want %v", got, want)
	}
	for _, one := range want {
		if !got[one] {
			t.Errorf("aud is %v, want %v", got, want)
		}
	}
}
