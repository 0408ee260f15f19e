package features

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// signedInUser is alice's browser, signed in to a web application.
type signedInUser struct {
	*testenv.Env
	app     *v1alpha1.OAuthClient
	config  *oauth2.Config
	browser *browser.Browser
}

var shopSpec = v1alpha1.OAuthClientSpec{
	GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_basic",
	RedirectURIs: []string{"https://app.example.com/callback"}, PostLogoutRedirectURIs: []string{"https://app.example.com/signed-out"},
	Scopes: []string{"openid", "profile", "offline_access"},
}

func newSignedInUser(t *testing.T) *signedInUser {
	t.Helper()
	env := testenv.New(t)
	c := &signedInUser{Env: env, app: env.ReadyClient("web", shopSpec), browser: env.NewBrowser()}
	c.config = env.Config(c.app, "openid", "profile")
	return c
}

// tokens of an authorization with the scopes, which takes a login only if there is no session.
func (c *signedInUser) tokens(password string, scopes ...string) *oauth2.Token {
	c.T.Helper()
	config, verifier := *c.config, oauth2.GenerateVerifier()
	config.Scopes = scopes
	at := c.SignInWith(c.browser, config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(verifier)), password)
	token, err := config.Exchange(c.Context(), at.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		c.T.Fatal(err)
	}
	return token
}

// isSignedIn says whether an application gets an answer without any page.
func (c *signedInUser) isSignedIn() bool {
	c.T.Helper()
	address := c.config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()), oauth2.SetAuthURLParam("prompt", "none"))
	answer := c.Open(c.browser, address).At.Query()
	if !answer.Has("code") && answer.Get("error") != "login_required" {
		c.T.Fatalf("the answer is %v", answer)
	}
	return answer.Has("code")
}

// isAccepted reports whether the userinfo endpoint accepts an access token.
func (c *signedInUser) isAccepted(token *oauth2.Token) bool {
	c.T.Helper()
	status, _ := c.Get("/userinfo", token.AccessToken)
	if status != http.StatusOK && status != http.StatusUnauthorized {
		c.T.Fatalf("userinfo answers %d", status)
	}
	return status == http.StatusOK
}

func (c *signedInUser) sessionMarks() int {
	c.T.Helper()
	var list internalv1alpha1.MarkList
	if err := testenv.Kube.List(c.T.Context(), &list, client.InNamespace(c.ServerNamespace)); err != nil {
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
	c := newSignedInUser(t)
	offline := c.tokens(testenv.Password, "openid", "profile", "offline_access")
	online := c.tokens(testenv.Password, "openid", "profile")
	hint, _ := online.Extra("id_token").(string)
	address := c.Issuer + "/logout?" + url.Values{
		"id_token_hint": {hint}, "post_logout_redirect_uri": shopSpec.PostLogoutRedirectURIs, "state": {"xyz"},
	}.Encode()
	if at := c.Open(c.browser, address).At.String(); at != "https://app.example.com/signed-out?state=xyz" {
		t.Errorf("the browser is sent to %s", at)
	}
	if c.isAccepted(online) || c.IsActive(c.config, online.AccessToken) || c.IsActive(c.config, online.RefreshToken) {
		t.Error("a token of the session is good")
	}
	_, err := refresh(c.Env, c.config, online.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
	if !c.isAccepted(offline) {
		t.Error("the offline access token has ended")
	}
	if _, err := refresh(c.Env, c.config, offline.RefreshToken); err != nil {
		t.Error(err)
	}
	if marks := c.sessionMarks(); marks != 1 {
		t.Errorf("%d marks, want one", marks)
	}
	if c.isSignedIn() {
		t.Error("she is signed in")
	}
	for range 3 { // there is no session any more
		c.Open(c.browser, address)
	}
	if marks := c.sessionMarks(); marks != 1 {
		t.Errorf("%d marks after logouts without a session, want one", marks)
	}
}

func TestAChangedPasswordEndsSessionsAndTokens(t *testing.T) {
	const next = "another long enough pass-phrase"
	c := newSignedInUser(t)
	before := c.tokens(testenv.Password, "openid", "profile", "offline_access")
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = c.ServerNamespace, "alice"
	c.WaitFor("the Secret", secret, func() bool { return true })
	c.Update(secret, func() { secret.Data = map[string][]byte{"password": []byte(next)} })
	c.Eventually("the end of her session", 5*time.Second, func() (bool, string) { return !c.isSignedIn(), "it goes on" })
	if c.isAccepted(before) || c.IsActive(c.config, before.AccessToken) {
		t.Error("the access token is good")
	}
	_, err := refresh(c.Env, c.config, before.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
	if !c.isAccepted(c.tokens(next, "openid", "profile")) {
		t.Error("with the new password the token is refused")
	}
}

func TestASuspendedClientsTokensAreDeadWhileItIs(t *testing.T) {
	c := newSignedInUser(t)
	token := c.tokens(testenv.Password, "openid", "profile", "offline_access")
	c.Update(c.app, func() { c.app.Spec.Suspended = true })
	c.Eventually("the end of the token", time.Second, func() (bool, string) { return !c.isAccepted(token), "it is good" })
	_, err := refresh(c.Env, c.config, token.RefreshToken)
	wantOAuthError(t, err, "invalid_client")
	c.Update(c.app, func() { c.app.Spec.Suspended = false })
	c.Eventually("the token", time.Second, func() (bool, string) { return c.isAccepted(token), "it is refused" })
	if _, err := refresh(c.Env, c.config, token.RefreshToken); err != nil {
		t.Error(err)
	}
}

func TestADeletedClientsTokensAreDeadAndItsSuccessorsAreNot(t *testing.T) {
	c := newSignedInUser(t)
	token := c.tokens(testenv.Password, "openid", "profile", "offline_access")
	c.Delete(c.app)
	c.Eventually("the end of the token", time.Second, func() (bool, string) { return !c.isAccepted(token), "it is good" })
	_, err := refresh(c.Env, c.config, token.RefreshToken)
	wantOAuthError(t, err, "invalid_client")
	c.app = c.ReadyClient("web", shopSpec)
	c.config = c.Config(c.app, "openid", "profile")
	if c.isAccepted(token) || c.IsActive(c.config, token.AccessToken) || c.IsActive(c.config, token.RefreshToken) {
		t.Error("a token of the client before is good")
	}
	_, err = refresh(c.Env, c.config, token.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
	if !c.isAccepted(c.tokens(testenv.Password, "openid", "profile")) {
		t.Error("the successor's token is refused")
	}
}
