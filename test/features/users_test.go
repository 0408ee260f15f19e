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
	"github.com/oauth-operator/oauth-operator/test/world"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// trusted is a client that trades passwords for tokens, the shortest way to a user's tokens.
func trusted(w *world.World) *oauth2.Config {
	w.T.Helper()
	return w.Config(w.Client("trusted", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"password", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_basic", Scopes: []string{"openid"},
	}), "openid")
}

func tokensOf(w *world.World, config *oauth2.Config, username string) *oauth2.Token {
	w.T.Helper()
	token, err := config.PasswordCredentialsToken(w.Context(), username, world.Password)
	if err != nil {
		w.T.Fatal(err)
	}
	return token
}

// deadWithinASecond waits until the token is inactive.
func deadWithinASecond(w *world.World, config *oauth2.Config, token string) {
	w.T.Helper()
	w.Eventually("the end of the token", time.Second, func() (bool, string) { return !w.Active(config, token), "it is active" })
}

func TestAUserWhoIsRenamedSignsInByTheNewNameAloneAndKeepsWhatWasGranted(t *testing.T) {
	w := world.New(t)
	config := trusted(w)
	before := tokensOf(w, config, world.Username)
	w.Update(w.User, func() { w.User.Spec.Username = "alice.liddell" })
	w.Eventually("the new name", time.Second, func() (bool, string) {
		_, err := config.PasswordCredentialsToken(w.Context(), "alice.liddell", world.Password)
		return err == nil, "it is refused"
	})
	_, err := config.PasswordCredentialsToken(w.Context(), world.Username, world.Password)
	wantOAuthError(t, err, "invalid_grant")
	if !w.Active(config, before.AccessToken) {
		t.Error("she is who she was, and her token has died")
	}
	if status, answer := w.Get("/userinfo", before.AccessToken); status != http.StatusOK || answer["sub"] != world.Subject {
		t.Errorf("userinfo answered %d %v", status, answer)
	}
}

func TestAUserWhoIsCreatedAgainInheritsNoTokenAndNoSession(t *testing.T) {
	w := world.New(t)
	config := trusted(w)
	old := tokensOf(w, config, world.Username)
	web := w.Client("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code"}, TokenEndpointAuthMethod: "client_secret_basic", Consent: "Skip",
		RedirectURIs: []string{w.Callback}, Scopes: []string{"openid"},
	})
	browser := w.Browser()
	browser.Follow(w.Issuer)
	silent := func() url.Values {
		address := w.Config(web, "openid").AuthCodeURL("xyz", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()), oauth2.SetAuthURLParam("prompt", "none"))
		if _, err := browser.Do(http.MethodGet, address, nil); err != nil {
			t.Fatal(err)
		}
		return browser.At.Query()
	}
	address := w.Config(web, "openid").AuthCodeURL("xyz", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))
	if err := browser.SignIn(address, w.Issuer, world.Username, world.Password); err != nil {
		t.Fatal(err)
	}
	if got := silent(); !got.Has("code") {
		t.Fatalf("want her signed in, got %v", got)
	}

	w.Delete(w.User)
	deadWithinASecond(w, config, old.AccessToken)
	again := w.NewUser("alice", world.Username, world.Subject)
	w.Create(again)
	w.Wait("the user who is created again to be Ready", again, func() bool { return world.IsTrue(again.Status.Conditions, v1alpha1.ConditionReady) })

	if w.Active(config, old.AccessToken) || w.Active(config, old.RefreshToken) {
		t.Error("a token of the user before is active")
	}
	if status, _ := w.Get("/userinfo", old.AccessToken); status != http.StatusUnauthorized {
		t.Errorf("userinfo answered %d to a token of the user before", status)
	}
	status, answer := w.Post("/token", config, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {old.RefreshToken}})
	if status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Errorf("a refresh token of the user before: %d %v", status, answer["error"])
	}
	if got := silent(); got.Get("error") != "login_required" {
		t.Errorf("the session of the user before: %v", got)
	}
	if !w.Active(config, tokensOf(w, config, world.Username).AccessToken) {
		t.Error("the new user's token is not active")
	}
}

func TestTheScopesAndTheAudienceOfADeletedAPIAreIssuedNoMore(t *testing.T) {
	w := world.New(t)
	const identifier = "https://orders.example.com"
	gateway := w.Config(w.Client("gateway", serviceSpec))
	api := w.API(identifier, []string{"orders:read"}, func(r *v1alpha1.ResourceServer) {
		r.Spec.IntrospectionClients = []v1alpha1.ClientReference{{Name: "gateway", Namespace: w.Apps}}
	})
	spec := serviceSpec
	spec.Scopes = []string{"orders:read"}
	service := w.Client("service", spec)
	config := w.Config(service)
	ask := func(name, value string) (int, map[string]any) {
		return w.Post("/token", config, url.Values{"grant_type": {"client_credentials"}, name: {value}})
	}
	status, answer := ask("scope", "orders:read")
	if status != http.StatusOK {
		t.Fatalf("the token: %d %v", status, answer)
	}
	token := answer["access_token"].(string)
	if !w.Active(gateway, token) {
		t.Fatal("the API's gateway is told that the token is inactive")
	}

	w.Delete(api)
	w.Eventually("the end of the scope", time.Second, func() (bool, string) {
		status, answer = ask("scope", "orders:read")
		return status == http.StatusBadRequest && answer["error"] == "invalid_scope", "it is issued"
	})
	w.Eventually("the end of the audience", time.Second, func() (bool, string) {
		status, answer = ask("resource", identifier)
		return status == http.StatusBadRequest && answer["error"] == "invalid_target", "it is issued"
	})
	if w.Active(gateway, token) || w.Active(config, token) {
		t.Error("a token for the API that is gone is active")
	}
	w.Wait("the finding", service, func() bool {
		found := meta.FindStatusCondition(service.Status.Conditions, v1alpha1.ConditionResolvedRefs)
		return found != nil && found.Reason == v1alpha1.ReasonUnknownScope
	})
}

// key is the server's key for an algorithm in a phase, by its status.
func key(w *world.World, algorithm string, phase v1alpha1.KeyPhase) (kid string) {
	w.T.Helper()
	w.Wait("the key "+algorithm+" "+string(phase), w.Server, func() bool {
		i := slices.IndexFunc(w.Server.Status.Keys, func(k v1alpha1.KeyStatus) bool { return k.Algorithm == algorithm && k.Phase == phase })
		if i < 0 {
			return false
		}
		kid = w.Server.Status.Keys[i].KID
		return true
	})
	return kid
}

func jwks(w *world.World) (kids []string) {
	w.T.Helper()
	_, answer := w.Get("/jwks", "")
	for _, k := range answer["keys"].([]any) {
		kids = append(kids, k.(map[string]any)["kid"].(string))
	}
	return kids
}

func TestWhatARevokedKeySignedDiesAtOnceAndWhatItsSuccessorSignsVerifies(t *testing.T) {
	w := world.New(t)
	w.API("https://orders.example.com", []string{"orders:read"})
	spec := serviceSpec
	spec.Scopes = []string{"orders:read"}
	service, config := w.Config(w.Client("service", spec)), trusted(w)
	machines := func() string {
		status, answer := w.Post("/token", service, url.Values{"grant_type": {"client_credentials"}})
		if status != http.StatusOK {
			return ""
		}
		return answer["access_token"].(string)
	}
	old, users := machines(), tokensOf(w, config, world.Username)
	if !w.Active(service, old) || !w.Active(config, users.AccessToken) {
		t.Fatal("want both tokens active")
	}

	revoked := key(w, "ES256", v1alpha1.KeyActive)
	standby := key(w, "ES256", v1alpha1.KeyPublished)
	w.Update(w.Server, func() { w.Server.Spec.Signing = &v1alpha1.SigningSettings{RevokedKeys: []v1alpha1.KeyID{revoked}} })
	deadWithinASecond(w, service, old)
	if w.Active(config, users.AccessToken) {
		t.Error("the user's token that the revoked key signed is active")
	}
	if status, _ := w.Get("/userinfo", users.AccessToken); status != http.StatusUnauthorized {
		t.Errorf("userinfo answered %d", status)
	}
	if slices.Contains(jwks(w), revoked) {
		t.Error("the revoked key is in the JWKS")
	}

	var fresh string
	w.Eventually("a new token", 5*time.Second, func() (bool, string) { fresh = machines(); return fresh != "", "there is none" })
	if _, err := accessTokenVerifier(w, "https://orders.example.com").Verify(w.Context(), fresh); err != nil {
		t.Error(err)
	}
	if !w.Active(service, fresh) {
		t.Error("the new token is not active")
	}
	if now := key(w, "ES256", v1alpha1.KeyActive); now != standby {
		t.Errorf("want the standby %s promoted, got %s", standby, now)
	}
	if next := key(w, "ES256", v1alpha1.KeyPublished); next == revoked || next == standby {
		t.Errorf("want another standby, got %s", next)
	}
	// The grant does not rest on the signature of its access tokens.
	if status, answer := w.Post("/token", config, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {users.RefreshToken}}); status != http.StatusOK {
		t.Errorf("the refresh token: %d %v", status, answer["error"])
	}
}

func TestARotationLeavesEveryTokenAndSessionInForce(t *testing.T) {
	w := world.New(t)
	config := trusted(w)
	before := tokensOf(w, config, world.Username)
	signing, sealing := key(w, "ES256", v1alpha1.KeyActive), key(w, documents.AlgorithmSealing, v1alpha1.KeyActive)
	standby := key(w, "ES256", v1alpha1.KeyPublished)
	w.Update(w.Server, func() {
		w.Server.Spec.Signing = &v1alpha1.SigningSettings{Rotation: &v1alpha1.KeyRotation{Revision: 1}}
	})
	w.Wait("the next sealing key", w.Server, func() bool {
		return slices.ContainsFunc(w.Server.Status.Keys, func(k v1alpha1.KeyStatus) bool { return k.KID == sealing && k.Phase == v1alpha1.KeyRetiring })
	})
	// Verifiers may have cached a JWKS without the next signing key: it waits.
	if now := key(w, "ES256", v1alpha1.KeyActive); now != signing {
		t.Errorf("want %s to sign still, %s does", signing, now)
	}
	if published := jwks(w); !slices.Contains(published, signing) || !slices.Contains(published, standby) {
		t.Errorf("want this signing key and the next published, got %v", published)
	}
	if !w.Active(config, before.AccessToken) {
		t.Error("the rotation ended an access token")
	}
	status, answer := w.Post("/token", config, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {before.RefreshToken}})
	if status != http.StatusOK {
		t.Fatalf("the refresh token that the retiring key sealed: %d %v", status, answer["error"])
	}
	status, answer = w.Post("/token", config, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {answer["refresh_token"].(string)}})
	if status != http.StatusOK {
		t.Errorf("the refresh token that the new key sealed: %d %v", status, answer["error"])
	}
}
