package token_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/introspect"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/revoke"
	"github.com/oauth-operator/oauth-operator/tokenserver/servertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/token"
	"github.com/oauth-operator/oauth-operator/tokenserver/userinfo"
)

// newServer has the endpoints for tokens.
func newServer(t *testing.T) *servertest.Server {
	t.Helper()
	w := servertest.New(t)
	endpoint := &token.Handler{Clients: w.Clients, Grants: w.Grants, Minter: w.Minter, Registry: w.Registry, Passwords: w.Passwords, Throttle: w.Throttle}
	w.Handle("/token", endpoint.Handle)
	w.Handle("/introspect", (&introspect.Handler{Clients: w.Clients, Grants: w.Grants, Registry: w.Registry}).Handle)
	w.Handle("/revoke", (&revoke.Handler{Clients: w.Clients, Grants: w.Grants}).Handle)
	w.Handle("/userinfo", (&userinfo.Handler{Grants: w.Grants, Registry: w.Registry}).Handle)
	return w
}

// newServiceClient returns a client that acts for itself.
func newServiceClient() documents.Client {
	c := servertest.Client("shop.service")
	c.GrantTypes, c.RedirectURIs = []string{oauth.GrantClientCredentials}, nil
	c.Scopes = []string{"orders:read", "orders:write", "stock:read"}
	return c
}

func TestOnlyAFormIsRead(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newServiceClient())
	for _, contentType := range []string{"application/json", "text/plain", "multipart/form-data; boundary=x", ""} {
		r := w.Form("/token", c, "grant_type", "client_credentials")
		r.Header.Set("Content-Type", contentType)
		w.CheckError(w.Do(r), 400, "invalid_request")
	}
	r := w.Form("/token", c, "grant_type", "client_credentials")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	w.RequireOK(w.Do(r))
}

func TestCredentialsInTheURLAreRefused(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newServiceClient())
	for _, query := range []string{
		"client_id=shop.service&client_secret=" + servertest.Secret, "client_secret=x", "code=x", "refresh_token=x", "password=x", "grant_type=x",
		"client%5Fsecret=x", "client_secret=x;y",
	} {
		r := w.Form("/token?"+query, c, "grant_type", "client_credentials")
		w.CheckError(w.Do(r), 400, "invalid_request")
	}
	w.RequireOK(w.Do(w.Form("/token?unknown=1", c, "grant_type", "client_credentials")))
}

func TestAParameterSentTwiceIsRefused(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newServiceClient())
	w.CheckError(w.Post("/token", c, "grant_type", "client_credentials", "grant_type", "client_credentials"), 400, "invalid_request")
	w.CheckError(w.Post("/token", c, "grant_type", "client_credentials", "unknown", "1", "unknown", "2"), 400, "invalid_request")
	w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials", "unknown", "1", "scope", ""))
	w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials", "resource", servertest.Orders, "resource", servertest.Stock))
}

func TestTooMuchIsRefused(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newServiceClient())
	large := w.Post("/token", c, "grant_type", "client_credentials", "x", strings.Repeat("x", 64<<10))
	w.CheckError(large, 413, "invalid_request")
	pairs := []string{"grant_type", "client_credentials"}
	for i := range 100 {
		pairs = append(pairs, fmt.Sprint("p", i), "x")
	}
	w.CheckError(w.Post("/token", c, pairs...), 400, "invalid_request")
}

func TestUnsupportedAndUnauthorizedAndInvalidGrantAreToldApart(t *testing.T) {
	w := newServer(t)
	web := w.AddClient(servertest.Client("shop.web"))
	w.CheckError(w.Post("/token", web), 400, "invalid_request")
	for _, unknown := range []string{"implicit", "urn:example:unknown", "Authorization_Code", "code"} {
		w.CheckError(w.Post("/token", web, "grant_type", unknown), 400, "unsupported_grant_type")
	}
	for _, notTheirs := range []string{"password", "client_credentials"} {
		w.CheckError(w.Post("/token", web, "grant_type", notTheirs, "username", "x", "password", "y"), 400, "unauthorized_client")
	}
	w.CheckError(w.Post("/token", web, "grant_type", "authorization_code"), 400, "invalid_request")
	w.CheckError(w.Post("/token", web, "grant_type", "authorization_code", "code", "unknown"), 400, "invalid_grant")
	w.CheckError(w.Post("/token", web, "grant_type", "refresh_token"), 400, "invalid_request")
	w.CheckError(w.Post("/token", web, "grant_type", "refresh_token", "refresh_token", "unknown"), 400, "invalid_grant")
}

func TestNoAnswerMayBeStored(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newServiceClient())
	for what, a := range map[string]servertest.Answer{
		"a token":                    w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials")),
		"an error":                   w.Post("/token", c, "grant_type", "unknown"),
		"a refused client":           w.Post("/token", servertest.Client("shop.unknown"), "grant_type", "client_credentials"),
		"an answer to introspection": w.RequireOK(w.Post("/introspect", c, "token", "unknown")),
		"a refused revocation":       w.Post("/revoke", c),
	} {
		h := a.Header
		if h.Get("Cache-Control") != "no-store" || h.Get("Pragma") != "no-cache" || h.Get("Content-Type") != "application/json" {
			t.Errorf("%s has Cache-Control %q, Pragma %q, Content-Type %q", what, h.Get("Cache-Control"), h.Get("Pragma"), h.Get("Content-Type"))
		}
	}
}

func TestDescriptionsKeepToTheirCharacters(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	allowed := regexp.MustCompile(`^[\x20-\x21\x23-\x5b\x5d-\x7e]*$`)
	for _, a := range []servertest.Answer{
		w.Post("/token", c, "grant_type", "\"\\\r\nä"),
		w.Post("/token", c, "grant_type", "refresh_token", "refresh_token", "x", "scope", "\"ä\\"),
		w.Post("/token", c, "\"ä\\\r\n", "1", "\"ä\\\r\n", "2"),
		w.Post("/token", c, "grant_type", "authorization_code", "code", "x", "resource", "\"\\ä"),
	} {
		if description := a.String("error_description"); a.ErrorCode() == "" || description == "" || !allowed.MatchString(description) {
			t.Errorf("the answer is %s", a.Body)
		}
	}
}

func TestAnAccessTokenHasTheClaimsOfRFC9068(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(servertest.Client("shop.web"))
	a := w.IssueTokens(c, "openid", "orders:read")
	header, claims := w.Header(a.String("access_token")), w.Claims(a.String("access_token"))
	if header["typ"] != "at+jwt" || header["alg"] != "ES256" || header["kid"] == "" {
		t.Errorf("the header is %v", header)
	}
	now := float64(w.Now().Unix())
	for name, want := range map[string]any{
		"iss": servertest.Issuer, "sub": servertest.Subject, "client_id": "shop.web", "scope": "openid orders:read",
		"iat": now, "exp": now + 300, "auth_time": now - 60,
	} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	if fmt.Sprint(claims["aud"]) != fmt.Sprint([]any{servertest.Orders, servertest.Issuer}) {
		t.Errorf("aud is %v", claims["aud"])
	}
	if id, _ := claims["jti"].(string); id == "" || strings.Contains(id, w.StoredGrants()[0].ID) {
		t.Errorf("jti is %q", id)
	}
	if a.JSON["token_type"] != "Bearer" || a.JSON["expires_in"] != float64(300) {
		t.Errorf("the answer is %s", a.Body)
	}
}

func TestATokenOfAServiceIsAboutTheService(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newServiceClient())
	a := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials", "scope", "orders:read"))
	claims := w.Claims(a.String("access_token"))
	if claims["sub"] != "shop.service" || claims["client_id"] != "shop.service" || claims["aud"] != servertest.Orders {
		t.Errorf("the claims are %v", claims)
	}
	if _, has := claims["auth_time"]; has {
		t.Error("a token without a user has an auth_time")
	}
}

func TestNoTwoTokensHaveOneID(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newServiceClient())
	seen := map[any]bool{}
	for range 20 {
		id := w.Claims(w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials")).String("access_token"))["jti"]
		if seen[id] {
			t.Fatalf("jti %v is of two tokens", id)
		}
		seen[id] = true
	}
}

func TestTheMetricCountsLegacyGrants(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newPasswordClient())
	w.RequireOK(w.Post("/token", c, "grant_type", "password", "username", "alice", "password", servertest.Password))
	if got := w.CounterValue("oauth_operator_tokenserver_grant_requests_total", "password"); got != 1 {
		t.Errorf("the metric counts %v password grants, want 1", got)
	}
}

func TestTheAnswerIsOneJSONObject(t *testing.T) {
	w := newServer(t)
	c := w.AddClient(newServiceClient())
	a := w.RequireOK(w.Post("/token", c, "grant_type", "client_credentials"))
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(a.Body), &fields); err != nil {
		t.Fatal(err)
	}
	for name := range fields {
		switch name {
		case "access_token", "token_type", "expires_in", "scope":
		default:
			t.Errorf("the answer to a service has the field %s", name)
		}
	}
}
