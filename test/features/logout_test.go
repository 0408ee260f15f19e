//go:build browser

package features

import (
	"context"
	"html/template"
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

// shop is an application that signs its users out: config is its client's, out is where they come
// back, with what they bring.
type shop struct {
	*testenv.Env
	config  *oauth2.Config
	in, out chan url.Values
	signOut string // the URI of out
	browser context.Context
	t       *testing.T
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{t: t, Env: testenv.New(t), in: make(chan url.Values, 10), out: make(chan url.Values, 10)}
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/callback":
			s.in <- r.URL.Query()
		case "/signed-out":
			s.out <- r.URL.Query()
		}
	}))
	t.Cleanup(app.Close)
	s.Callback, s.signOut = app.URL+"/callback", app.URL+"/signed-out"
	scopes := []string{"openid", "profile", "offline_access"}
	s.config = s.Config(s.ReadyClient("web", v1alpha1.OAuthClientSpec{
		DisplayName: "Example Shop", GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"},
		TokenEndpointAuthMethod: "client_secret_basic", RedirectURIs: []string{s.Callback}, PostLogoutRedirectURIs: []string{s.signOut},
		Scopes: scopes,
	}))
	s.browser = chromium.Start(t, chromium.WithoutJavaScript())
	return s
}

// open sends the browser to the authorization endpoint, and gives what the code is redeemed for
// once the person has done the rest.
func (s *shop) open(scopes string, actions ...chromedp.Action[chromedp.Void]) *oauth2.Token {
	s.T.Helper()
	verifier := oauth2.GenerateVerifier()
	address := s.config.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("scope", scopes))
	chromium.Do(s.t, s.browser, append([]chromedp.Action[chromedp.Void]{chromedp.Navigate(address)}, actions...)...)
	token, err := s.config.Exchange(s.Context(), awaitCode(s.t, s.in, "s"), oauth2.VerifierOption(verifier))
	if err != nil {
		s.T.Fatal(err)
	}
	chromium.Do(s.t, s.browser, chromium.At(s.Callback))
	return token
}

// signIn as alice, and allow all the scopes.
func (s *shop) signIn(scopes string) *oauth2.Token {
	s.T.Helper()
	return s.open(scopes,
		chromedp.WaitVisible(chromedp.CSS("#username")),
		chromedp.SendKeys(chromedp.CSS("#username"), testenv.Username),
		chromedp.SendKeys(chromedp.CSS("#password"), testenv.Password),
		chromedp.Click(chromedp.CSS("#login-submit")),
		chromedp.WaitVisible(chromedp.CSS("#consent-allow")),
		chromedp.Click(chromedp.CSS("#consent-allow")))
}

// awaitSignedOut waits for the person to come back to the application.
func (s *shop) awaitSignedOut() url.Values {
	s.T.Helper()
	select {
	case got := <-s.out:
		return got
	case <-time.After(20 * time.Second):
		s.T.Fatal("the browser was not sent back to the application")
		return nil
	}
}

func TestAPersonInChromiumIsAskedAndSignsOut(t *testing.T) {
	s := newShop(t)
	offline := s.signIn("openid profile offline_access")
	online := s.open("openid profile")
	status, discovery := s.Get("/.well-known/openid-configuration", "")
	endpoint, _ := discovery["end_session_endpoint"].(string)
	if status != http.StatusOK || endpoint == "" {
		t.Fatalf("the discovery document names no end_session_endpoint: %d", status)
	}
	address := endpoint + "?" + url.Values{"client_id": {s.config.ClientID}, "post_logout_redirect_uri": {s.signOut}, "state": {"xyz"}}.Encode()
	chromium.Do(t, s.browser,
		chromedp.Navigate(address),
		chromedp.WaitVisible(chromedp.CSS("#logout-confirm")),
		chromium.Screenshot("logout"))
	if !s.IsActive(s.config, online.AccessToken) {
		t.Fatal("asking signed the user out")
	}
	chromium.Do(t, s.browser, chromedp.Click(chromedp.CSS("#logout-confirm")))
	if got := s.awaitSignedOut(); got.Get("state") != "xyz" || len(got) != 1 {
		t.Errorf("sent back with %v", got)
	}
	for name, token := range map[string]string{"access": online.AccessToken, "refresh": online.RefreshToken} {
		if s.IsActive(s.config, token) {
			t.Errorf("the online %s token is active", name)
		}
	}
	if status, _ := s.Get("/userinfo", online.AccessToken); status != http.StatusUnauthorized {
		t.Errorf("userinfo answers %d", status)
	}
	refresh := func(token *oauth2.Token) int {
		status, _ := s.Post("/token", s.config, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.RefreshToken}})
		return status
	}
	if status := refresh(online); status != http.StatusBadRequest {
		t.Errorf("refreshing the online one answers %d", status)
	}
	if status := refresh(offline); status != http.StatusOK || !s.IsActive(s.config, offline.AccessToken) {
		t.Errorf("refreshing the offline one answers %d", status)
	}
	chromium.Do(t, s.browser, chromium.At(s.signOut),
		chromedp.Navigate(endpoint), chromedp.WaitVisible(chromedp.CSS(".badge")),
		chromedp.Navigate(s.config.AuthCodeURL("s", oauth2.S256ChallengeOption(strings.Repeat("v", 43)))),
		chromedp.WaitVisible(chromedp.CSS("#username")))
}

// The application posts the ID token, from a site of its own.
func TestAPersonInChromiumIsSignedOutByAFormOfTheApplication(t *testing.T) {
	s := newShop(t)
	token := s.signIn("openid profile")
	hint, _ := token.Extra("id_token").(string)
	form := template.Must(template.New("").Parse(`<form method="post" action="{{.Action}}"><input type="hidden" name="id_token_hint" value="{{.Hint}}">
<input type="hidden" name="post_logout_redirect_uri" value="{{.Out}}"><input type="hidden" name="state" value="xyz"><button>Go</button></form>`))
	page := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		_ = form.Execute(rw, map[string]any{"Action": s.Issuer + "/logout", "Hint": hint, "Out": s.signOut})
	}))
	t.Cleanup(page.Close)
	// localhost is another site than 127.0.0.1.
	chromium.Do(t, s.browser,
		chromedp.Navigate(strings.Replace(page.URL, "127.0.0.1", "localhost", 1)), chromedp.Click(chromedp.CSS("button")))
	if got := s.awaitSignedOut(); got.Get("state") != "xyz" {
		t.Errorf("sent back with %v", got)
	}
	if s.IsActive(s.config, token.AccessToken) {
		t.Error("the access token is active")
	}
}

// Another site's form cannot press the button: it comes without our cookies, and with a form that
// was made for another user.
func TestAnotherSiteInChromiumSignsNobodyOut(t *testing.T) {
	s := newShop(t)
	token := s.signIn("openid profile")
	page := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		_, _ = rw.Write([]byte(`<form method="post" action="` + s.Issuer + `/logout"><input type="hidden" name="logout" value="x"><button>Go</button></form>
<form method="post" action="` + s.Issuer + `/logout"><button id="plain">Go</button></form>`))
	}))
	t.Cleanup(page.Close)
	elsewhere := strings.Replace(page.URL, "127.0.0.1", "localhost", 1)
	chromium.Do(t, s.browser,
		chromedp.Navigate(elsewhere), chromedp.Click(chromedp.CSS("button")), chromedp.WaitVisible(chromedp.CSS(".badge-error")),
		chromedp.Navigate(elsewhere), chromedp.Click(chromedp.CSS("#plain")), chromedp.WaitVisible(chromedp.CSS("#logout-confirm")))
	if !s.IsActive(s.config, token.AccessToken) {
		t.Error("the user was signed out")
	}
	s.open("openid profile")
}
