//go:build browser

package clients

import (
	"context"
	_ "embed"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/chromium"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

//go:embed testdata/app.html
var appPage []byte

//go:embed testdata/app.js
var appScript []byte

// browserApp serves the application at an origin of its own and registers it.
func browserApp(env *testenv.Env) (address string) {
	env.T.Helper()
	var settings []byte
	serve := func(mediaType string, content func() []byte) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", mediaType)
			_, _ = rw.Write(content())
		}
	}
	page := serve("text/html", func() []byte { return appPage })
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", page)
	mux.HandleFunc("GET /callback", page)
	mux.HandleFunc("GET /app.js", serve("text/javascript", func() []byte { return appScript }))
	mux.HandleFunc("GET /oidc-client-ts.min.js", serve("text/javascript", func() []byte { return library }))
	mux.HandleFunc("GET /settings.json", serve("application/json", func() []byte { return settings }))
	server := httptest.NewServer(mux)
	env.T.Cleanup(server.Close)

	env.Callback = server.URL + "/callback"
	c := env.ReadyClient("browser-app", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "none",
		RedirectURIs: []string{env.Callback}, Scopes: []string{"openid", "profile", "email", "offline_access"},
	})
	settings, err := json.Marshal(map[string]string{
		"authority": env.Issuer, "client_id": c.Status.ClientID, "redirect_uri": env.Callback, "scope": "openid profile email offline_access",
	})
	if err != nil {
		env.T.Fatal(err)
	}
	return server.URL
}

// shown waits until the application shows something, and reads it.
func shown[T any](t *testing.T, browser context.Context, id string) T { //nolint:revive // a testing helper takes t first
	t.Helper()
	chromium.Do(t, browser, chromedp.WaitVisible(chromedp.CSS("#"+id+", #failed")))
	text, err := chromedp.Run(browser, chromedp.Text(chromedp.CSS("#"+id+", #failed")))
	if err != nil {
		t.Fatal(err)
	}
	var value T
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("waiting for what is %s, the application shows %s (%v)", id, text, err)
	}
	return value
}

// appTokens are what the application has got.
type appTokens struct {
	AccessToken  string         `json:"access_token"`
	RefreshToken string         `json:"refresh_token"`
	Scope        string         `json:"scope"`
	Profile      map[string]any `json:"profile"`
}

func TestABrowserApplicationOfAnotherOriginSignsAUserInRefreshesAndRevokes(t *testing.T) {
	env := testenv.New(t)
	address := browserApp(env)
	browser := chromium.Start(t)
	chromium.Do(t, browser,
		chromedp.Navigate(address),
		chromedp.WaitVisible(chromedp.CSS("#username")),
		chromedp.SendKeys(chromedp.CSS("#username"), testenv.Username),
		chromedp.SendKeys(chromedp.CSS("#password"), testenv.Password),
		chromedp.Click(chromedp.CSS("#login-submit")),
		chromedp.WaitVisible(chromedp.CSS("#consent-allow")),
		chromedp.Click(chromedp.CSS("#consent-allow")))

	before := shown[appTokens](t, browser, "signed-in")
	if before.Profile["sub"] != testenv.Subject || before.Profile["email"] != testenv.Email || before.RefreshToken == "" {
		t.Errorf("the application knows %v, and has a refresh token: %t", before.Profile, before.RefreshToken != "")
	}
	after := shown[appTokens](t, browser, "refreshed")
	if after.AccessToken == before.AccessToken || after.RefreshToken == before.RefreshToken || after.Profile["sub"] != testenv.Subject {
		t.Error("want other tokens for the same user")
	}

	for endpoint, got := range shown[map[string]string](t, browser, "other-endpoints") {
		want := "blocked"
		if endpoint == "jwks" {
			want = "read 200"
		}
		if got != want {
			t.Errorf("%s from another origin: want %s, got %s", endpoint, want, got)
		}
	}

	if got := shown[map[string]string](t, browser, "revoked"); got["userinfo"] != "read 401" {
		t.Errorf("after the revocation userinfo: %s", got["userinfo"])
	}
	clientID := after.Profile["aud"]
	if list, ok := clientID.([]any); ok {
		clientID = list[0]
	}
	status, answer := env.Post("/token", nil, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {after.RefreshToken}, "client_id": {clientID.(string)},
	})
	if status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Errorf("after the revocation the refresh token: %d %v", status, answer["error"])
	}
}

// A cross-site POST carries no Lax cookie; the request it brings finds the session all the same.
func TestAFormOfAnotherSiteThatAsksForAuthorizationFindsTheSession(t *testing.T) {
	env := testenv.New(t)
	page := ""
	arrived := make(chan url.Values, 10)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /form", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		_, _ = rw.Write([]byte(page))
	})
	mux.HandleFunc("GET /callback", func(_ http.ResponseWriter, r *http.Request) { arrived <- r.URL.Query() })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	site := strings.Replace(server.URL, "127.0.0.1", "localhost", 1) // another site than the issuer's 127.0.0.1
	env.Callback = site + "/callback"
	c := env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code"}, TokenEndpointAuthMethod: "client_secret_basic", Consent: "Skip", PKCE: "WhenSent",
		RedirectURIs: []string{env.Callback}, Scopes: []string{"openid"},
	})
	page = `<!doctype html><form method="post" action="` + env.Issuer + `/authorize"><input name="client_id" value="` + c.Status.ClientID + `">
		<input name="response_type" value="code"><input name="scope" value="openid"><input name="redirect_uri" value="` + env.Callback + `">
		<input name="state" value="posted"><button id="send">send</button></form>`

	browser := chromium.Start(t)
	chromium.Do(t, browser,
		chromedp.Navigate(env.Config(c, "openid").AuthCodeURL("first")),
		chromedp.WaitVisible(chromedp.CSS("#username")),
		chromedp.SendKeys(chromedp.CSS("#username"), testenv.Username),
		chromedp.SendKeys(chromedp.CSS("#password"), testenv.Password),
		chromedp.Click(chromedp.CSS("#login-submit")))
	for _, state := range []string{"first", "posted"} {
		select {
		case got := <-arrived:
			if got.Get("state") != state || got.Get("code") == "" {
				t.Errorf("want a code for %s, got %v", state, got)
			}
		case <-browser.Done():
			t.Fatalf("the browser was not sent back with %s", state)
		}
		if state == "first" {
			chromium.Do(t, browser, chromium.At(env.Callback),
				chromedp.Navigate(site+"/form"), chromedp.WaitVisible(chromedp.CSS("#send")), chromedp.Click(chromedp.CSS("#send")))
		}
	}
}
