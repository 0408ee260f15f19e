package features

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

func TestAServiceGetsATokenForItselfFromItsSecret(t *testing.T) {
	env := testenv.New(t)
	env.ReadyAPI("https://orders.example.com", []string{"orders:read"})
	c := env.ReadyClient("service", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: "client_secret_basic", Scopes: []string{"orders:read"},
	})
	from := env.Config(c)
	config := clientcredentials.Config{
		ClientID: from.ClientID, ClientSecret: from.ClientSecret, TokenURL: from.Endpoint.TokenURL, Scopes: []string{"orders:read"},
		AuthStyle: from.Endpoint.AuthStyle,
	}
	token, err := config.Token(env.Context())
	if err != nil {
		t.Fatal(err)
	}
	left := time.Until(token.Expiry)
	if token.TokenType != "Bearer" || token.RefreshToken != "" || left < 4*time.Minute || left > 5*time.Minute {
		t.Errorf("want a bearer token for five minutes and no refresh token, got %s for %s, %q", token.TokenType, left, token.RefreshToken)
	}
	verified, err := accessTokenVerifier(env, "https://orders.example.com").Verify(env.Context(), token.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	if verified.Subject != c.Status.ClientID {
		t.Errorf("want the client as the subject, got %q", verified.Subject)
	}
}

func TestAWebApplicationSignsAUserInAndRefreshes(t *testing.T) {
	env := testenv.New(t)
	c := env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs: []string{env.Callback}, Scopes: []string{"openid", "profile", "email", "offline_access"},
	})
	checkCodeFlow(env, env.Config(c, "openid", "profile", "email", "offline_access"))
}

func TestANativeApplicationSignsAUserInWithPKCEAlone(t *testing.T) {
	env := testenv.New(t)
	c := env.ReadyClient("cli", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "none",
		RedirectURIs: []string{env.Callback}, Scopes: []string{"openid", "profile", "email", "offline_access"},
	})
	checkCodeFlow(env, env.Config(c, "openid", "profile", "email", "offline_access"))
}

func TestAnIssuerWithAPathServesTheCodeFlow(t *testing.T) {
	env := testenv.New(t, func(s *v1alpha1.AuthorizationServer) { s.Spec.Issuer += "/tenants/one" })
	c := env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_post",
		RedirectURIs: []string{env.Callback}, Scopes: []string{"openid", "profile", "email", "offline_access"},
	})
	checkCodeFlow(env, env.Config(c, "openid", "profile", "email", "offline_access"))
}

// checkCodeFlow goes through the authorization code flow with PKCE and one refresh, and checks
// every token as a client would.
func checkCodeFlow(env *testenv.Env, config *oauth2.Config) {
	t := env.T
	t.Helper()
	provider, err := oidc.NewProvider(env.Context(), env.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	verifier := oauth2.GenerateVerifier()
	answer := env.SignIn(config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(verifier), oidc.Nonce("n-0S6_WzA2Mj"))).Query()
	if answer.Get("state") != "xyz" || answer.Get("iss") != env.Issuer {
		t.Fatalf("want state and iss back, got %v", answer)
	}
	token, err := config.Exchange(env.Context(), answer.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := token.Extra("id_token").(string)
	idToken, err := provider.Verifier(&oidc.Config{ClientID: config.ClientID}).Verify(env.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if idToken.Nonce != "n-0S6_WzA2Mj" || idToken.Subject != "248289761001" {
		t.Errorf("want the nonce and alice, got %q and %q", idToken.Nonce, idToken.Subject)
	}
	if idToken.AccessTokenHash != "" {
		if err := idToken.VerifyAccessToken(token.AccessToken); err != nil {
			t.Error(err)
		}
	}
	info, err := provider.UserInfo(env.Context(), oauth2.StaticTokenSource(token))
	if err != nil {
		t.Fatal(err)
	}
	if info.Subject != idToken.Subject || info.Email != "alice@example.com" {
		t.Errorf("want alice's userinfo, got %+v", info)
	}

	stale := *token
	stale.Expiry = stale.Expiry.AddDate(-1, 0, 0)
	fresh, err := config.TokenSource(env.Context(), &stale).Token()
	if err != nil {
		t.Fatal(err)
	}
	isPublic := config.ClientSecret == ""
	if fresh.AccessToken == token.AccessToken || (fresh.RefreshToken != token.RefreshToken) != isPublic {
		t.Errorf("want another access token, and another refresh token: %t", isPublic)
	}
	if _, err := provider.UserInfo(env.Context(), oauth2.StaticTokenSource(fresh)); err != nil {
		t.Error(err)
	}

	_, err = config.Exchange(env.Context(), answer.Get("code"), oauth2.VerifierOption(verifier))
	wantOAuthError(t, err, "invalid_grant")
	if _, err := provider.UserInfo(env.Context(), oauth2.StaticTokenSource(fresh)); err == nil {
		t.Error("the code was used again, and tokens from it still work")
	}
}

func TestALegacyBrowserApplicationGetsTokensFromTheAuthorizationEndpoint(t *testing.T) {
	env := testenv.New(t)
	c := env.ReadyClient("spa", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"implicit"}, TokenEndpointAuthMethod: "none",
		RedirectURIs: []string{env.Callback}, Scopes: []string{"openid", "email"},
	})
	config := env.Config(c, "openid", "email")
	address := config.AuthCodeURL("xyz", oauth2.SetAuthURLParam("response_type", "id_token token"), oidc.Nonce("n-0S6_WzA2Mj"))
	answer, err := url.ParseQuery(env.SignIn(address).EscapedFragment())
	if err != nil {
		t.Fatal(err)
	}
	if answer.Has("refresh_token") || answer.Has("code") || answer.Get("state") != "xyz" || answer.Get("iss") != env.Issuer {
		t.Errorf("want state and iss, neither code nor refresh token: %v", answer)
	}
	provider, err := oidc.NewProvider(env.Context(), env.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	idToken, err := provider.Verifier(&oidc.Config{ClientID: config.ClientID}).Verify(env.Context(), answer.Get("id_token"))
	if err != nil {
		t.Fatal(err)
	}
	if err := idToken.VerifyAccessToken(answer.Get("access_token")); err != nil || idToken.Nonce != "n-0S6_WzA2Mj" {
		t.Errorf("nonce %q, at_hash: %v", idToken.Nonce, err)
	}
	if _, err := provider.UserInfo(env.Context(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: answer.Get("access_token")})); err != nil {
		t.Error(err)
	}
	wantLegacy(t, c)
}

func TestATrustedApplicationTradesThePasswordForTokens(t *testing.T) {
	env := testenv.New(t)
	c := env.ReadyClient("legacy", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"password", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_post",
		Scopes: []string{"openid", "email"},
	})
	config := env.Config(c, "openid", "email")
	token, err := config.PasswordCredentialsToken(env.Context(), "ALICE", testenv.Password)
	if err != nil {
		t.Fatal(err)
	}
	stale := *token
	stale.Expiry = stale.Expiry.AddDate(-1, 0, 0)
	if _, err := config.TokenSource(env.Context(), &stale).Token(); err != nil {
		t.Error(err)
	}
	_, wrong := config.PasswordCredentialsToken(env.Context(), testenv.Username, "wrong")
	_, unknown := config.PasswordCredentialsToken(env.Context(), "unknown", "wrong")
	wantOAuthError(t, wrong, "invalid_grant")
	if wrong.Error() != unknown.Error() {
		t.Errorf("a wrong password and an unknown user differ: %v, %v", wrong, unknown)
	}
	wantLegacy(t, c)
}

func TestATokenEndsWhenItIsRevoked(t *testing.T) {
	env := testenv.New(t)
	c := env.ReadyClient("legacy", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"password", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_basic", Scopes: []string{"openid"},
	})
	config := env.Config(c, "openid")
	token, err := config.PasswordCredentialsToken(env.Context(), testenv.Username, testenv.Password)
	if err != nil {
		t.Fatal(err)
	}
	active := func() bool {
		status, answer := env.Post("/introspect", config, url.Values{"token": {token.AccessToken}})
		if status != http.StatusOK {
			t.Fatalf("introspection answered %d %v", status, answer)
		}
		return answer["active"] == true
	}
	if !active() {
		t.Fatal("want the token active")
	}
	if status, answer := env.Post("/revoke", config, url.Values{"token": {token.RefreshToken}}); status != http.StatusOK {
		t.Fatalf("revocation answered %d %v", status, answer)
	}
	if active() {
		t.Error("the refresh token was revoked, and the access token is still active")
	}
}

// accessTokenVerifier checks access tokens as an API would, by discovery and the JWKS.
func accessTokenVerifier(env *testenv.Env, audience string) *oidc.IDTokenVerifier {
	env.T.Helper()
	provider, err := oidc.NewProvider(env.Context(), env.Issuer)
	if err != nil {
		env.T.Fatal(err)
	}
	return provider.Verifier(&oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{"ES256"}})
}

func wantOAuthError(t testing.TB, err error, code string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), code) {
		t.Errorf("want %s, got %v", code, err)
	}
}
