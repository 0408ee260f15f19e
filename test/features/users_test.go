package features

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// passwordClient creates a client of the password grant, the shortest way to a user's tokens.
func passwordClient(env *testenv.Env) *oauth2.Config {
	env.T.Helper()
	return env.Config(env.ReadyClient("trusted", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"password", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_basic", Scopes: []string{"openid"},
	}), "openid")
}

func passwordTokens(env *testenv.Env, config *oauth2.Config, username string) *oauth2.Token {
	env.T.Helper()
	token, err := config.PasswordCredentialsToken(env.Context(), username, testenv.Password)
	if err != nil {
		env.T.Fatal(err)
	}
	return token
}

// inactiveWithinASecond waits until the token is inactive.
func inactiveWithinASecond(env *testenv.Env, config *oauth2.Config, token string) {
	env.T.Helper()
	env.Eventually("the end of the token", time.Second, func() (bool, string) { return !env.IsActive(config, token), "it is active" })
}

func TestAUserWhoIsRenamedSignsInByTheNewNameAloneAndKeepsWhatWasGranted(t *testing.T) {
	env := testenv.New(t)
	config := passwordClient(env)
	before := passwordTokens(env, config, testenv.Username)
	env.Update(env.User, func() { env.User.Spec.Username = "alice.liddell" })
	env.Eventually("the new name", time.Second, func() (bool, string) {
		_, err := config.PasswordCredentialsToken(env.Context(), "alice.liddell", testenv.Password)
		return err == nil, "it is refused"
	})
	_, err := config.PasswordCredentialsToken(env.Context(), testenv.Username, testenv.Password)
	wantOAuthError(t, err, "invalid_grant")
	if !env.IsActive(config, before.AccessToken) {
		t.Error("she is who she was, and her token has died")
	}
	if status, answer := env.Get("/userinfo", before.AccessToken); status != http.StatusOK || answer["sub"] != testenv.Subject {
		t.Errorf("userinfo answered %d %v", status, answer)
	}
}

func TestAUserWhoIsCreatedAgainInheritsNoTokenAndNoSession(t *testing.T) {
	env := testenv.New(t)
	config := passwordClient(env)
	old := passwordTokens(env, config, testenv.Username)
	web := env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code"}, TokenEndpointAuthMethod: "client_secret_basic", Consent: "Skip",
		RedirectURIs: []string{env.Callback}, Scopes: []string{"openid"},
	})
	alice := env.NewBrowser()
	silent := func() url.Values {
		address := env.Config(web, "openid").AuthCodeURL("xyz", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()), oauth2.SetAuthURLParam("prompt", "none"))
		return env.Open(alice, address).At.Query()
	}
	address := env.Config(web, "openid").AuthCodeURL("xyz", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))
	env.SignInWith(alice, address, testenv.Password)
	if got := silent(); !got.Has("code") {
		t.Fatalf("want her signed in, got %v", got)
	}

	env.Delete(env.User)
	inactiveWithinASecond(env, config, old.AccessToken)
	again := env.NewUser("alice", testenv.Username, testenv.Subject)
	env.Create(again)
	env.WaitFor("the user who is created again to be Ready", again, func() bool { return testenv.IsTrue(again.Status.Conditions, v1alpha1.ConditionReady) })

	if env.IsActive(config, old.AccessToken) || env.IsActive(config, old.RefreshToken) {
		t.Error("a token of the user before is active")
	}
	if status, _ := env.Get("/userinfo", old.AccessToken); status != http.StatusUnauthorized {
		t.Errorf("userinfo answered %d to a token of the user before", status)
	}
	status, answer := env.Post("/token", config, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {old.RefreshToken}})
	if status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Errorf("a refresh token of the user before: %d %v", status, answer["error"])
	}
	if got := silent(); got.Get("error") != "login_required" {
		t.Errorf("the session of the user before: %v", got)
	}
	if !env.IsActive(config, passwordTokens(env, config, testenv.Username).AccessToken) {
		t.Error("the new user's token is not active")
	}
}

func TestTheScopesAndTheAudienceOfADeletedAPIAreIssuedNoMore(t *testing.T) {
	env := testenv.New(t)
	const identifier = "https://orders.example.com"
	gateway := env.Config(env.ReadyClient("gateway", serviceSpec))
	api := env.ReadyAPI(identifier, []string{"orders:read"}, func(r *v1alpha1.ResourceServer) {
		r.Spec.IntrospectionClients = []v1alpha1.ClientReference{{Name: "gateway", Namespace: env.AppNamespace}}
	})
	spec := serviceSpec
	spec.Scopes = []string{"orders:read"}
	service := env.ReadyClient("service", spec)
	config := env.Config(service)
	ask := func(name, value string) (int, map[string]any) {
		return env.Post("/token", config, url.Values{"grant_type": {"client_credentials"}, name: {value}})
	}
	status, answer := ask("scope", "orders:read")
	if status != http.StatusOK {
		t.Fatalf("the token: %d %v", status, answer)
	}
	token := answer["access_token"].(string)
	if !env.IsActive(gateway, token) {
		t.Fatal("the API's gateway is told that the token is inactive")
	}

	env.Delete(api)
	env.Eventually("the end of the scope", time.Second, func() (bool, string) {
		status, answer = ask("scope", "orders:read")
		return status == http.StatusBadRequest && answer["error"] == "invalid_scope", "it is issued"
	})
	env.Eventually("the end of the audience", time.Second, func() (bool, string) {
		status, answer = ask("resource", identifier)
		return status == http.StatusBadRequest && answer["error"] == "invalid_target", "it is issued"
	})
	if env.IsActive(gateway, token) || env.IsActive(config, token) {
		t.Error("a token for the API that is gone is active")
	}
	env.WaitFor("the finding", service, func() bool {
		found := meta.FindStatusCondition(service.Status.Conditions, v1alpha1.ConditionResolvedRefs)
		return found != nil && found.Reason == v1alpha1.ReasonUnknownScope
	})
}

func TestAnAPIThatIsCreatedAgainInheritsNoTokenNoGrantAndNoConsent(t *testing.T) {
	env := testenv.New(t)
	gateway := env.Config(env.ReadyClient("gateway", serviceSpec))
	createAPI := func() *v1alpha1.ResourceServer {
		return env.ReadyAPI("https://orders.example.com", []string{"orders:read"}, func(r *v1alpha1.ResourceServer) {
			r.Spec.IntrospectionClients = []v1alpha1.ClientReference{{Name: "gateway", Namespace: env.AppNamespace}}
		})
	}
	api := createAPI()
	config := env.Config(env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs: []string{env.Callback}, Scopes: []string{"openid", "orders:read"},
	}), "openid", "orders:read")
	alice := env.NewBrowser()
	tokens := func() *oauth2.Token {
		t.Helper()
		verifier := oauth2.GenerateVerifier()
		at := env.SignInWith(alice, config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(verifier)), testenv.Password)
		token, err := config.Exchange(env.Context(), at.Query().Get("code"), oauth2.VerifierOption(verifier))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	silent := func() url.Values {
		t.Helper()
		address := config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()), oauth2.SetAuthURLParam("prompt", "none"))
		return env.Open(alice, address).At.Query()
	}
	old := tokens()
	if answer := silent(); !answer.Has("code") || !env.IsActive(gateway, old.AccessToken) {
		t.Fatalf("at first the user is asked, %v, or the token is inactive", answer)
	}

	env.Delete(api)
	createAPI()
	if env.IsActive(gateway, old.AccessToken) {
		t.Error("an access token of before is active")
	}
	refreshed, err := refresh(env, config, old.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if scope := refreshed.Extra("scope"); scope != "openid" || env.IsActive(gateway, refreshed.AccessToken) {
		t.Errorf("the refresh token of before gets the scope %v, or a token that is active", scope)
	}
	if answer := silent(); answer.Get("error") != "consent_required" {
		t.Errorf("the user is not asked again: %v", answer)
	}
	if !env.IsActive(gateway, tokens().AccessToken) {
		t.Error("a token of a later consent is inactive")
	}
}

// key is the server's key for an algorithm in a phase, by its status.
func key(env *testenv.Env, algorithm string, phase v1alpha1.KeyPhase) (kid string) {
	env.T.Helper()
	env.WaitFor("the key "+algorithm+" "+string(phase), env.Server, func() bool {
		i := slices.IndexFunc(env.Server.Status.Keys, func(k v1alpha1.KeyStatus) bool { return k.Algorithm == algorithm && k.Phase == phase })
		if i < 0 {
			return false
		}
		kid = env.Server.Status.Keys[i].KID
		return true
	})
	return kid
}

func jwks(env *testenv.Env) (kids []string) {
	env.T.Helper()
	_, answer := env.Get("/jwks", "")
	for _, k := range answer["keys"].([]any) {
		kids = append(kids, k.(map[string]any)["kid"].(string))
	}
	return kids
}

func TestWhatARevokedKeySignedDiesAtOnceAndWhatItsSuccessorSignsVerifies(t *testing.T) {
	env := testenv.New(t)
	env.ReadyAPI("https://orders.example.com", []string{"orders:read"})
	spec := serviceSpec
	spec.Scopes = []string{"orders:read"}
	service, config := env.Config(env.ReadyClient("service", spec)), passwordClient(env)
	machines := func() string {
		status, answer := env.Post("/token", service, url.Values{"grant_type": {"client_credentials"}})
		if status != http.StatusOK {
			return ""
		}
		return answer["access_token"].(string)
	}
	old, users := machines(), passwordTokens(env, config, testenv.Username)
	if !env.IsActive(service, old) || !env.IsActive(config, users.AccessToken) {
		t.Fatal("want both tokens active")
	}

	revoked := key(env, "ES256", v1alpha1.KeyActive)
	standby := key(env, "ES256", v1alpha1.KeyPublished)
	env.Update(env.Server, func() { env.Server.Spec.Signing = &v1alpha1.SigningSettings{RevokedKeys: []v1alpha1.KeyID{revoked}} })
	inactiveWithinASecond(env, service, old)
	if env.IsActive(config, users.AccessToken) {
		t.Error("the user's token that the revoked key signed is active")
	}
	if status, _ := env.Get("/userinfo", users.AccessToken); status != http.StatusUnauthorized {
		t.Errorf("userinfo answered %d", status)
	}
	if slices.Contains(jwks(env), revoked) {
		t.Error("the revoked key is in the JWKS")
	}

	var fresh string
	env.Eventually("a new token", 5*time.Second, func() (bool, string) { fresh = machines(); return fresh != "", "there is none" })
	if _, err := accessTokenVerifier(env, "https://orders.example.com").Verify(env.Context(), fresh); err != nil {
		t.Error(err)
	}
	if !env.IsActive(service, fresh) {
		t.Error("the new token is not active")
	}
	env.WaitFor("the standby to be the active key in the status", env.Server, func() bool {
		return slices.ContainsFunc(env.Server.Status.Keys, func(k v1alpha1.KeyStatus) bool { return k.KID == standby && k.Phase == v1alpha1.KeyActive })
	})
	if next := key(env, "ES256", v1alpha1.KeyPublished); next == revoked || next == standby {
		t.Errorf("want another standby, got %s", next)
	}
	// The grant does not rest on the signature of its access tokens.
	if status, answer := env.Post("/token", config, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {users.RefreshToken}}); status != http.StatusOK {
		t.Errorf("the refresh token: %d %v", status, answer["error"])
	}
}

func TestARotationLeavesEveryTokenAndSessionInForce(t *testing.T) {
	env := testenv.New(t, rotateAlways)
	config := passwordClient(env)
	before := passwordTokens(env, config, testenv.Username)
	signing, sealing := key(env, "ES256", v1alpha1.KeyActive), key(env, documents.AlgorithmSealing, v1alpha1.KeyActive)
	standby := key(env, "ES256", v1alpha1.KeyPublished)
	env.Update(env.Server, func() {
		env.Server.Spec.Signing = &v1alpha1.SigningSettings{Rotation: &v1alpha1.KeyRotation{Revision: 1}}
	})
	env.WaitFor("the next sealing key", env.Server, func() bool {
		return slices.ContainsFunc(env.Server.Status.Keys, func(k v1alpha1.KeyStatus) bool { return k.KID == sealing && k.Phase == v1alpha1.KeyRetiring })
	})
	// Verifiers may have cached a JWKS without the next signing key: it waits.
	if now := key(env, "ES256", v1alpha1.KeyActive); now != signing {
		t.Errorf("want %s to sign still, %s does", signing, now)
	}
	if published := jwks(env); !slices.Contains(published, signing) || !slices.Contains(published, standby) {
		t.Errorf("want this signing key and the next published, got %v", published)
	}
	if !env.IsActive(config, before.AccessToken) {
		t.Error("the rotation ended an access token")
	}
	status, answer := env.Post("/token", config, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {before.RefreshToken}})
	if status != http.StatusOK {
		t.Fatalf("the refresh token that the retiring key sealed: %d %v", status, answer["error"])
	}
	status, answer = env.Post("/token", config, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {answer["refresh_token"].(string)}})
	if status != http.StatusOK {
		t.Errorf("the refresh token that the new key sealed: %d %v", status, answer["error"])
	}
}
