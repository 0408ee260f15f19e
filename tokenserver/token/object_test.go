package token_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// recreateOrders replaces the resource server of the orders by another one with its identifier and
// these scopes.
func recreateOrders(w *servertest.Server, scopes ...string) {
	w.RemoveResourceServer(servertest.Orders)
	again := servertest.ResourceServer(servertest.Orders, scopes...)
	again.UID = "another-uid"
	w.AddResourceServer(again)
}

func TestARecordNamesTheAPIsThatItsScopesAndResourcesAreOf(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	a := w.Authorization(c, "openid", "orders:read", "orders:write")
	a.Resources = []string{servertest.Stock, servertest.Orders, servertest.Issuer}
	w.RequireOK(w.Redeem(c, w.Code(a)))
	want := []storage.API{
		{UID: servertest.Stock + "-uid", Identifier: servertest.Stock},
		{UID: servertest.Orders + "-uid", Identifier: servertest.Orders, Scopes: []string{"orders:read", "orders:write"}},
	}
	if got := w.StoredGrants()[0].APIs; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the record says %v, want %v", got, want)
	}
}

func TestARefreshTokenYieldsNothingForAResourceServerThatIsCreatedAgain(t *testing.T) {
	for name, resources := range map[string][]string{"by scope": nil, "by resource": {servertest.Orders, servertest.Stock}} {
		t.Run(name, func(t *testing.T) {
			w := newServer(t)
			c := w.AddClient(servertest.Client("shop.web"))
			a := w.Authorization(c, "openid", "orders:read", "stock:read")
			a.Resources = resources
			old := w.RequireOK(w.Redeem(c, w.Code(a)))
			recreateOrders(w, "orders:read")
			w.CheckError(w.Refresh(c, old.String("refresh_token"), "scope", "orders:read"), 400, "invalid_scope")
			w.CheckError(w.Refresh(c, old.String("refresh_token"), "resource", servertest.Orders), 400, "invalid_target")
			refreshed := w.RequireOK(w.Refresh(c, old.String("refresh_token")))
			if got := refreshed.String("scope"); got != "openid stock:read" {
				t.Errorf("a refreshed token has the scope %q", got)
			}
			if got := fmt.Sprint(w.Claims(refreshed.String("access_token"))["aud"]); strings.Contains(got, servertest.Orders) || !strings.Contains(got, servertest.Stock) {
				t.Errorf("a refreshed token is for %s", got)
			}
			client, _ := w.Registry.Client(c.ID)
			info, err := w.Grants.CheckRefreshToken(t.Context(), refreshed.String("refresh_token"), client)
			if err != nil || !slices.Equal(info.Scopes, []string{"openid", "stock:read"}) {
				t.Errorf("the refresh token is introspected as %+v, %v", info, err)
			}
		})
	}
}

func TestAnAuthorizationForAResourceServerAloneYieldsNothingOnceThatIsCreatedAgain(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	byResource := w.Authorization(c)
	byResource.Resources = []string{servertest.Orders}
	for name, a := range map[string]grant.Authorization{"by scope": w.Authorization(c, "orders:read"), "by resource": byResource} {
		late, old := w.Code(a), w.RequireOK(w.Redeem(c, w.Code(a)))
		before := len(w.StoredGrants())
		recreateOrders(w, "orders:read")
		if got := w.Redeem(c, late); got.Status != 400 || len(w.StoredGrants()) != before {
			t.Errorf("%s: a code is answered %d %s", name, got.Status, got.Body)
		}
		if got := w.Refresh(c, old.String("refresh_token")); got.Status != 400 {
			t.Errorf("%s: a refresh token is answered %d %s", name, got.Status, got.Body)
		}
		w.AddResourceServer(servertest.ResourceServer(servertest.Orders, "orders:read", "orders:write")) // as it was
	}
}

func TestACodeYieldsNothingForAResourceServerThatIsCreatedAgain(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	code := w.Code(w.Consent(w.Authorization(c, "openid", "orders:read", "stock:read")))
	recreateOrders(w, "orders:read")
	a := w.RequireOK(w.Redeem(c, code))
	if a.String("scope") != "openid stock:read" {
		t.Errorf("the scope is %q", a.String("scope"))
	}
	for _, api := range w.StoredGrants()[0].APIs {
		if api.Identifier == servertest.Orders {
			t.Errorf("the record has %+v", api)
		}
	}
}

func TestAScopeThatAnotherResourceServerDeclaresNowIsNoPartOfAGrant(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	old := w.IssueTokens(c, "openid", "orders:read", "orders:write", "stock:read")
	w.AddResourceServer(servertest.ResourceServer(servertest.Orders, "orders:read"))
	w.AddResourceServer(servertest.ResourceServer(servertest.Stock, "stock:read", "orders:write")) // it is in the grant too, with another scope
	if a := w.RequireOK(w.Refresh(c, old.String("refresh_token"))); a.String("scope") != "openid orders:read stock:read" {
		t.Errorf("the scope is %q", a.String("scope"))
	}
	info, err := w.Grants.CheckAccessToken(t.Context(), old.String("access_token"))
	if err != nil || slices.Contains(info.Scopes, "orders:write") {
		t.Errorf("the access token has the scopes %v, %v", info.Scopes, err)
	}
	c.GrantTypes = append(c.GrantTypes, oauth.GrantClientCredentials)
	w.AddClient(c)
	machine := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials", "scope", "orders:read orders:write stock:read")).String("access_token")
	w.AddResourceServer(servertest.ResourceServer(servertest.Stock, "stock:read"))
	w.AddResourceServer(servertest.ResourceServer(servertest.Orders, "orders:read", "orders:write"))
	if info, err = w.Grants.CheckAccessToken(t.Context(), machine); err != nil || !slices.Equal(info.Scopes, []string{"orders:read", "stock:read"}) {
		t.Errorf("a machine's token has the scopes %v, %v", info.Scopes, err)
	}
}

func TestSixteenResourcesCanBeNamedAndNoMore(t *testing.T) {
	w := newServer(t)
	c := servertest.Client("shop.web")
	c.GrantTypes, c.Scopes = append(c.GrantTypes, oauth.GrantClientCredentials, oauth.GrantPassword), nil
	request := []string{"grant_type", "client_credentials"}
	for i := range oauth.MaxResources {
		identifier, scope := fmt.Sprintf("https://api-%d.example.com", i), fmt.Sprintf("api-%d:read", i)
		rs := servertest.ResourceServer(identifier, scope)
		rs.UID = fmt.Sprintf("6d0c4a3f-9b39-4a3f-9b39-9a0e4d3b%04d", i)
		w.AddResourceServer(rs)
		c.Scopes, request = append(c.Scopes, scope), append(request, "resource", identifier)
	}
	w.AddClient(c)
	a := w.Authorization(c, append([]string{"openid", "offline_access"}, c.Scopes...)...)
	for i := range oauth.MaxResources {
		a.Resources = append(a.Resources, fmt.Sprintf("https://api-%d.example.com", i))
	}
	if code := w.Code(w.Consent(a)); len(code) > grant.MaxCodeSize { // which makes none that is larger
		t.Errorf("a code for them is %d bytes long", len(code))
	}
	token := w.RequireOK(w.Post("/token", c, request...)).String("access_token")
	id, _ := w.Claims(token)["jti"].(string)
	if len(id) > 512 || !w.IsActive(token) {
		t.Errorf("the id of a token for %d resources is %d bytes long", oauth.MaxResources, len(id))
	}
	for _, grantType := range []string{"client_credentials", "password"} {
		request[1] = grantType
		w.CheckError(w.Post("/token", c, append(request, "resource", servertest.Orders, "username", servertest.Username, "password", servertest.Password)...),
			400, "invalid_target")
	}
}
