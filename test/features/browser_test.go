//go:build browser

package features

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"golang.org/x/oauth2"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/chromium"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// startCallbackServer serves a web application's redirect URI, and returns the queries that arrive.
func startCallbackServer(t *testing.T, env *testenv.Env) <-chan url.Values {
	t.Helper()
	arrived := make(chan url.Values, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/callback" {
			arrived <- r.URL.Query()
		}
	}))
	t.Cleanup(server.Close)
	env.Callback = server.URL + "/callback"
	return arrived
}

func webClient(env *testenv.Env) *oauth2.Config {
	env.T.Helper()
	scopes := []string{"openid", "profile", "email", "offline_access"}
	c := env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		DisplayName: "Example Shop", GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"},
		TokenEndpointAuthMethod: "client_secret_basic", RedirectURIs: []string{env.Callback}, Scopes: scopes,
	})
	return env.Config(c, scopes...)
}

func awaitCode(t *testing.T, arrived <-chan url.Values, state string) string {
	t.Helper()
	select {
	case got := <-arrived:
		if got.Get("state") != state || got.Get("code") == "" {
			t.Fatalf("want a code for %s, got %v", state, got)
		}
		return got.Get("code")
	case <-time.After(20 * time.Second):
		t.Fatal("the browser was not sent back to the application")
		return ""
	}
}

func TestAPersonInChromiumSignsInConsentsAndIsNotAskedAgain(t *testing.T) {
	env := testenv.New(t)
	arrived := startCallbackServer(t, env)
	config := webClient(env)
	browser := chromium.Start(t, chromium.WithoutJavaScript())
	verifier := oauth2.GenerateVerifier()
	address := config.AuthCodeURL("first", oauth2.S256ChallengeOption(verifier))
	chromium.Do(t, browser,
		chromedp.Navigate(address),
		chromedp.WaitVisible(chromedp.CSS("#username")),
		chromium.Screenshot("login"),
		chromedp.SendKeys(chromedp.CSS("#username"), testenv.Username),
		chromedp.SendKeys(chromedp.CSS("#password"), "not it"),
		chromedp.Click(chromedp.CSS("#login-submit")),
		chromedp.WaitVisible(chromedp.CSS(`[role="alert"]`)),
		chromedp.SetValue(chromedp.CSS("#username"), testenv.Username),
		chromedp.SendKeys(chromedp.CSS("#password"), testenv.Password),
		chromedp.Click(chromedp.CSS("#login-submit")),
		chromedp.WaitVisible(chromedp.CSS("#consent-allow")),
		chromium.Screenshot("consent"),
		chromedp.Click(chromedp.CSS("#consent-allow")),
	)
	if _, err := config.Exchange(env.Context(), awaitCode(t, arrived, "first"), oauth2.VerifierOption(verifier)); err != nil {
		t.Fatal(err)
	}
	chromium.Do(t, browser, chromium.At(env.Callback), chromedp.Navigate(config.AuthCodeURL("second", oauth2.S256ChallengeOption(verifier))))
	awaitCode(t, arrived, "second")
}

func TestTwoTabsOfOneBrowserBothComplete(t *testing.T) {
	env := testenv.New(t)
	arrived := startCallbackServer(t, env)
	config := webClient(env)
	one := chromium.Start(t, chromium.WithoutJavaScript())
	two := chromium.Tab(t, one)
	open := func(ctx context.Context, state string) {
		chromium.Do(t, ctx,
			chromedp.Navigate(config.AuthCodeURL(state, oauth2.S256ChallengeOption(strings.Repeat("v", 43)))),
			chromedp.WaitVisible(chromedp.CSS("#username")))
	}
	open(one, "one")
	open(two, "two")
	finish := func(ctx context.Context) {
		chromium.Do(t, ctx,
			chromedp.SendKeys(chromedp.CSS("#username"), testenv.Username),
			chromedp.SendKeys(chromedp.CSS("#password"), testenv.Password),
			chromedp.Click(chromedp.CSS("#login-submit")))
	}
	finish(one)
	chromium.Do(t, one, chromedp.WaitVisible(chromedp.CSS("#consent-allow")), chromedp.Click(chromedp.CSS("#consent-allow")))
	awaitCode(t, arrived, "one")
	finish(two)
	awaitCode(t, arrived, "two")
}

func TestAPersonWhoRefusesIsSentBackWithAccessDenied(t *testing.T) {
	env := testenv.New(t)
	arrived := startCallbackServer(t, env)
	config := webClient(env)
	chromium.Do(t, chromium.Start(t, chromium.WithoutJavaScript()),
		chromedp.Navigate(config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(strings.Repeat("v", 43)))),
		chromedp.WaitVisible(chromedp.CSS("#username")),
		chromedp.SendKeys(chromedp.CSS("#username"), testenv.Username),
		chromedp.SendKeys(chromedp.CSS("#password"), testenv.Password),
		chromedp.Click(chromedp.CSS("#login-submit")),
		chromedp.WaitVisible(chromedp.CSS("#consent-deny")),
		chromedp.Click(chromedp.CSS("#consent-deny")))
	select {
	case got := <-arrived:
		if got.Get("error") != "access_denied" || got.Get("state") != "xyz" || got.Get("iss") != env.Issuer {
			t.Errorf("sent back with %v", got)
		}
	case <-time.After(20 * time.Second):
		t.Error("the browser was not sent back to the application")
	}
}

func TestAnUnregisteredRedirectURIEndsOnAPageAndNowhereElse(t *testing.T) {
	env := testenv.New(t)
	startCallbackServer(t, env)
	config := webClient(env)
	config.RedirectURL = "https://evil.example.com/callback"
	browser := chromium.Start(t, chromium.WithoutJavaScript())
	chromium.Do(t, browser,
		chromedp.Navigate(config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(strings.Repeat("v", 43)))),
		chromedp.WaitVisible(chromedp.CSS("h1")), chromium.Screenshot("error"))
	at, err := chromedp.Run(browser, chromedp.Location())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(at, env.Issuer+"/authorize") {
		t.Errorf("the browser is at %s", at)
	}
}
