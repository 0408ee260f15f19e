//go:build browser

package features

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"golang.org/x/oauth2"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// screenshots is a directory that receives pictures of the pages; none are made if it is empty.
var screenshots = os.Getenv("SCREENSHOTS")

// newBrowser starts a headless Chromium. It needs no JavaScript for any page of the token server, so it has none.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1100, 1000), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("blink-settings", "scriptEnabled=false"),
	)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// tab opens another tab of the same browser.
func tab(t *testing.T, browser context.Context) context.Context { //nolint:revive // a testing helper takes t first
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // or the tab would live only as long as the first thing that is done in it
		t.Fatal(err)
	}
	return ctx
}

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) { //nolint:revive // a testing helper takes t first
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		at, _ := chromedp.Run(ctx, chromedp.Location())
		page, _ := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("body")))
		t.Fatalf("%v at %s: %s", err, at, page)
	}
}

// picture takes a screenshot in light and in dark.
func picture(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		if screenshots == "" {
			return nil
		}
		for _, scheme := range []string{"light", "dark"} {
			feature := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}
			if _, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: feature}); err != nil {
				return err
			}
			image, err := chromedp.CaptureScreenshot()(ctx, target)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(screenshots, name+"-"+scheme+".png"), image, 0o644); err != nil {
				return err
			}
		}
		return nil
	})
}

// app is a web application's callback; it keeps the queries that it was sent.
func app(t *testing.T, w *world) <-chan url.Values {
	t.Helper()
	arrived := make(chan url.Values, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/callback" {
			arrived <- r.URL.Query()
		}
	}))
	t.Cleanup(server.Close)
	w.callback = server.URL + "/callback"
	return arrived
}

func (w *world) webClient() *oauth2.Config {
	w.t.Helper()
	scopes := []string{"openid", "profile", "email", "offline_access"}
	c := w.client("web", v1alpha1.OAuthClientSpec{
		DisplayName: "Example Shop", GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"},
		TokenEndpointAuthMethod: "client_secret_basic", RedirectURIs: []string{w.callback}, Scopes: scopes,
	})
	return w.config(c, scopes...)
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
	w := newWorld(t)
	arrived := app(t, w)
	config := w.webClient()
	browser := newBrowser(t)
	verifier := oauth2.GenerateVerifier()
	address := config.AuthCodeURL("first", oauth2.S256ChallengeOption(verifier))
	do(t, browser,
		chromedp.Navigate(address),
		chromedp.WaitVisible(chromedp.CSS("#username")),
		picture("login"),
		chromedp.SendKeys(chromedp.CSS("#username"), username),
		chromedp.SendKeys(chromedp.CSS("#password"), "not it"),
		chromedp.Click(chromedp.CSS("#login-submit")),
		chromedp.WaitVisible(chromedp.CSS(`[role="alert"]`)),
		picture("login-failed"),
		chromedp.SetValue(chromedp.CSS("#username"), username),
		chromedp.SendKeys(chromedp.CSS("#password"), password),
		chromedp.Click(chromedp.CSS("#login-submit")),
		chromedp.WaitVisible(chromedp.CSS("#consent-allow")),
		picture("consent"),
		chromedp.Click(chromedp.CSS("#consent-allow")),
	)
	if _, err := config.Exchange(t.Context(), awaitCode(t, arrived, "first"), oauth2.VerifierOption(verifier)); err != nil {
		t.Fatal(err)
	}
	do(t, browser, chromedp.Navigate(config.AuthCodeURL("second", oauth2.S256ChallengeOption(verifier))))
	awaitCode(t, arrived, "second")
}

func TestTwoTabsOfOneBrowserBothComplete(t *testing.T) {
	w := newWorld(t)
	arrived := app(t, w)
	config := w.webClient()
	one := newBrowser(t)
	two := tab(t, one)
	open := func(ctx context.Context, state string) {
		do(t, ctx,
			chromedp.Navigate(config.AuthCodeURL(state, oauth2.S256ChallengeOption(strings.Repeat("v", 43)))),
			chromedp.WaitVisible(chromedp.CSS("#username")))
	}
	open(one, "one")
	open(two, "two")
	finish := func(ctx context.Context) {
		do(t, ctx,
			chromedp.SendKeys(chromedp.CSS("#username"), username),
			chromedp.SendKeys(chromedp.CSS("#password"), password),
			chromedp.Click(chromedp.CSS("#login-submit")))
	}
	finish(one)
	do(t, one, chromedp.WaitVisible(chromedp.CSS("#consent-allow")), chromedp.Click(chromedp.CSS("#consent-allow")))
	awaitCode(t, arrived, "one")
	finish(two)
	awaitCode(t, arrived, "two")
}

func TestAPersonWhoRefusesIsSentBackWithAccessDenied(t *testing.T) {
	w := newWorld(t)
	arrived := app(t, w)
	config := w.webClient()
	do(t, newBrowser(t),
		chromedp.Navigate(config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(strings.Repeat("v", 43)))),
		chromedp.WaitVisible(chromedp.CSS("#username")),
		chromedp.SendKeys(chromedp.CSS("#username"), username),
		chromedp.SendKeys(chromedp.CSS("#password"), password),
		chromedp.Click(chromedp.CSS("#login-submit")),
		chromedp.WaitVisible(chromedp.CSS("#consent-deny")),
		chromedp.Click(chromedp.CSS("#consent-deny")))
	select {
	case got := <-arrived:
		if got.Get("error") != "access_denied" || got.Get("state") != "xyz" || got.Get("iss") != w.issuer {
			t.Errorf("sent back with %v", got)
		}
	case <-time.After(20 * time.Second):
		t.Error("the browser was not sent back to the application")
	}
}

func TestAnUnregisteredRedirectURIEndsOnAPageAndNowhereElse(t *testing.T) {
	w := newWorld(t)
	app(t, w)
	config := w.webClient()
	config.RedirectURL = "https://evil.example.com/callback"
	browser := newBrowser(t)
	do(t, browser,
		chromedp.Navigate(config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(strings.Repeat("v", 43)))),
		chromedp.WaitVisible(chromedp.CSS("h1")), picture("error"))
	at, err := chromedp.Run(browser, chromedp.Location())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(at, w.issuer+"/authorize") {
		t.Errorf("the browser is at %s", at)
	}
}
