package features

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	served "github.com/oauth-operator/oauth-operator/api/served/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/person"
	"github.com/oauth-operator/oauth-operator/test/world"
)

// customer is alice at her browser, signed in to a web application.
type customer struct {
	*world.World
	app     *v1alpha1.OAuthClient
	config  *oauth2.Config
	browser *person.Browser
}

var shopSpec = v1alpha1.OAuthClientSpec{
	GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_basic",
	RedirectURIs: []string{"https://app.example.com/callback"}, PostLogoutRedirectURIs: []string{"https://app.example.com/signed-out"},
	Scopes: []string{"openid", "profile", "offline_access"},
}

func newCustomer(t *testing.T) *customer {
	t.Helper()
	w := world.New(t)
	c := &customer{World: w, app: w.Client("web", shopSpec), browser: w.Browser()}
	c.config = w.Config(c.app, "openid", "profile")
	c.browser.Follow(w.Issuer)
	return c
}

// tokens of an authorization with the scopes, which takes a login only if there is no session.
func (c *customer) tokens(password string, scopes ...string) *oauth2.Token {
	c.T.Helper()
	config, verifier := *c.config, oauth2.GenerateVerifier()
	config.Scopes = scopes
	if err := c.browser.SignIn(config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(verifier)), c.Issuer, world.Username, password); err != nil {
		c.T.Fatal(err)
	}
	token, err := config.Exchange(c.Context(), c.browser.At.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		c.T.Fatal(err)
	}
	return token
}

// isSignedIn says whether an application gets an answer without any page.
func (c *customer) isSignedIn() bool {
	c.T.Helper()
	address := c.config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()), oauth2.SetAuthURLParam("prompt", "none"))
	if _, err := c.browser.Do(http.MethodGet, address, nil); err != nil {
		c.T.Fatal(err)
	}
	answer := c.browser.At.Query()
	if !answer.Has("code") && answer.Get("error") != "login_required" {
		c.T.Fatalf("the answer is %v", answer)
	}
	return answer.Has("code")
}

// good says what the userinfo endpoint thinks of an access token.
func (c *customer) good(token *oauth2.Token) bool {
	c.T.Helper()
	status, _ := c.Get("/userinfo", token.AccessToken)
	if status != http.StatusOK && status != http.StatusUnauthorized {
		c.T.Fatalf("userinfo answers %d", status)
	}
	return status == http.StatusOK
}

func (c *customer) sessionMarks() int {
	c.T.Helper()
	var list served.MarkList
	if err := world.Kube.List(c.T.Context(), &list, client.InNamespace(c.Identity)); err != nil {
		c.T.Fatal(err)
	}
	marks := 0
	for _, mark := range list.Items {
		if mark.Spec.Kind == "session" {
			marks++
		}
	}
	return marks
}

func TestSigningOutEndsWhatCameFromTheSessionAndIsOneMark(t *testing.T) {
	c := newCustomer(t)
	offline := c.tokens(world.Password, "openid", "profile", "offline_access")
	online := c.tokens(world.Password, "openid", "profile")
	hint, _ := online.Extra("id_token").(string)
	address := c.Issuer + "/logout?" + url.Values{
		"id_token_hint": {hint}, "post_logout_redirect_uri": shopSpec.PostLogoutRedirectURIs, "state": {"xyz"},
	}.Encode()
	if _, err := c.browser.Do(http.MethodGet, address, nil); err != nil {
		t.Fatal(err)
	}
	if at := c.browser.At.String(); at != "https://app.example.com/signed-out?state=xyz" {
		t.Errorf("the browser is sent to %s", at)
	}
	if c.good(online) || c.Active(c.config, online.AccessToken) || c.Active(c.config, online.RefreshToken) {
		t.Error("a token of the session is good")
	}
	_, err := refresh(c.World, c.config, online.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
	if !c.good(offline) {
		t.Error("the offline access token has ended")
	}
	if _, err := refresh(c.World, c.config, offline.RefreshToken); err != nil {
		t.Error(err)
	}
	if marks := c.sessionMarks(); marks != 1 {
		t.Errorf("%d marks, want one", marks)
	}
	if c.isSignedIn() {
		t.Error("she is signed in")
	}
	for range 3 { // nobody is signed in any more
		if _, err := c.browser.Do(http.MethodGet, address, nil); err != nil {
			t.Fatal(err)
		}
	}
	if marks := c.sessionMarks(); marks != 1 {
		t.Errorf("%d marks after who has no session, want one", marks)
	}
}

func TestAChangedPasswordEndsSessionsAndTokens(t *testing.T) {
	const next = "another long enough pass-phrase"
	c := newCustomer(t)
	before := c.tokens(world.Password, "openid", "profile", "offline_access")
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = c.Identity, "alice"
	c.Wait("the Secret", secret, func() bool { return true })
	c.Update(secret, func() { secret.Data = map[string][]byte{"password": []byte(next)} })
	c.Eventually("the end of her session", 5*time.Second, func() (bool, string) { return !c.isSignedIn(), "it goes on" })
	if c.good(before) || c.Active(c.config, before.AccessToken) {
		t.Error("the access token is good")
	}
	_, err := refresh(c.World, c.config, before.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
	if !c.good(c.tokens(next, "openid", "profile")) {
		t.Error("with the new password the token is refused")
	}
}

func TestASuspendedClientsTokensAreDeadWhileItIs(t *testing.T) {
	c := newCustomer(t)
	token := c.tokens(world.Password, "openid", "profile", "offline_access")
	c.Update(c.app, func() { c.app.Spec.Suspended = true })
	c.Eventually("the end of the token", time.Second, func() (bool, string) { return !c.good(token), "it is good" })
	_, err := refresh(c.World, c.config, token.RefreshToken)
	wantOAuthError(t, err, "invalid_client")
	c.Update(c.app, func() { c.app.Spec.Suspended = false })
	c.Eventually("the token", time.Second, func() (bool, string) { return c.good(token), "it is refused" })
	if _, err := refresh(c.World, c.config, token.RefreshToken); err != nil {
		t.Error(err)
	}
}

func TestADeletedClientsTokensAreDeadAndItsSuccessorsAreNot(t *testing.T) {
	c := newCustomer(t)
	token := c.tokens(world.Password, "openid", "profile", "offline_access")
	c.Delete(c.app)
	c.Eventually("the end of the token", time.Second, func() (bool, string) { return !c.good(token), "it is good" })
	_, err := refresh(c.World, c.config, token.RefreshToken)
	wantOAuthError(t, err, "invalid_client")
	c.app = c.Client("web", shopSpec)
	c.config = c.Config(c.app, "openid", "profile")
	if c.good(token) || c.Active(c.config, token.AccessToken) || c.Active(c.config, token.RefreshToken) {
		t.Error("a token of the client before is good")
	}
	_, err = refresh(c.World, c.config, token.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
	if !c.good(c.tokens(world.Password, "openid", "profile")) {
		t.Error("the successor's token is refused")
	}
}
