package features

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// webApp is a client that users sign in to and agree to.
func webApp(env *testenv.Env) *oauth2.Config {
	env.T.Helper()
	return env.Config(env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs: []string{env.Callback}, Scopes: []string{"openid", "profile", "offline_access"},
	}), "openid", "profile", "offline_access")
}

// rotateAlways has a server replace the refresh tokens of confidential clients too.
func rotateAlways(s *v1alpha1.AuthorizationServer) {
	s.Spec.Tokens = &v1alpha1.TokenSettings{RefreshToken: &v1alpha1.RefreshTokenSettings{Rotation: v1alpha1.RotateAlways}}
}

// signInAndRedeem signs alice in, and returns a function that redeems the code again, and the
// tokens.
func signInAndRedeem(env *testenv.Env, config *oauth2.Config) (redeem func() (*oauth2.Token, error), token *oauth2.Token) {
	env.T.Helper()
	verifier := oauth2.GenerateVerifier()
	code := env.SignIn(config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(verifier))).Query().Get("code")
	redeem = func() (*oauth2.Token, error) {
		return config.Exchange(env.Context(), code, oauth2.VerifierOption(verifier))
	}
	token, err := redeem()
	if err != nil {
		env.T.Fatal(err)
	}
	return redeem, token
}

func refresh(env *testenv.Env, config *oauth2.Config, refreshToken string) (*oauth2.Token, error) {
	return config.TokenSource(env.Context(), &oauth2.Token{RefreshToken: refreshToken}).Token()
}

func grantsOf(env *testenv.Env) []v1alpha1.OAuthGrant {
	env.T.Helper()
	var list v1alpha1.OAuthGrantList
	if err := testenv.Kube.List(env.T.Context(), &list, client.InNamespace(env.ServerNamespace)); err != nil {
		env.T.Fatal(err)
	}
	return list.Items
}

func TestDeletingAGrantRevokesItsTokensAndItsCodeStaysRedeemed(t *testing.T) {
	env := testenv.New(t)
	config := webApp(env)
	redeem, token := signInAndRedeem(env, config)
	found := grantsOf(env)
	if len(found) != 1 || found[0].Spec.Username != testenv.Username || found[0].Spec.ClientID != config.ClientID || !found[0].Spec.Consented {
		t.Fatalf("grants: %+v", found)
	}
	if !env.IsActive(config, token.AccessToken) || !env.IsActive(config, token.RefreshToken) {
		t.Fatal("the tokens are inactive at the beginning")
	}
	env.Delete(&found[0])
	inactiveWithinASecond(env, config, token.AccessToken)
	if env.IsActive(config, token.RefreshToken) {
		t.Error("the refresh token is active")
	}
	if status, _ := env.Get("/userinfo", token.AccessToken); status != http.StatusUnauthorized {
		t.Errorf("userinfo answers %d", status)
	}
	_, err := refresh(env, config, token.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
	_, err = redeem()
	wantOAuthError(t, err, "invalid_grant")
	if left := grantsOf(env); len(left) > 0 {
		t.Errorf("the code made a grant again: %+v", left[0].Spec)
	}
}

func TestDeletingAConsentEndsItsGrantsAndTheUserIsAskedAgain(t *testing.T) {
	env := testenv.New(t)
	config := webApp(env)
	_, token := signInAndRedeem(env, config)
	var consents v1alpha1.OAuthConsentList
	if err := testenv.Kube.List(t.Context(), &consents, client.InNamespace(env.ServerNamespace)); err != nil {
		t.Fatal(err)
	}
	if len(consents.Items) != 1 || consents.Items[0].Spec.Username != testenv.Username || consents.Items[0].Spec.ClientID != config.ClientID {
		t.Fatalf("consents: %+v", consents.Items)
	}
	env.Delete(&consents.Items[0])
	env.Eventually("the end of the grant", 3*time.Second, func() (bool, string) {
		found := grantsOf(env)
		return len(found) == 1 && found[0].Spec.EndReason == "ConsentWithdrawn", "it has not ended"
	})
	inactiveWithinASecond(env, config, token.AccessToken)
	_, err := refresh(env, config, token.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
	_, again := signInAndRedeem(env, config)
	if !env.IsActive(config, again.AccessToken) {
		t.Error("after a new consent the token is inactive")
	}
}

func TestLoginsSurviveATokenServerThatIsKilled(t *testing.T) {
	env := testenv.New(t)
	config := webApp(env)
	redeem, token := signInAndRedeem(env, config)
	old := replica(env).PID()
	if err := replica(env).Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	env.Eventually("the next token server", 20*time.Second, func() (bool, string) {
		replicas := testenv.Operator.Node.Replicas(env.ServerNamespace, "main")
		if len(replicas) == 0 || replicas[0].PID() == old {
			return false, "none has started"
		}
		status, said := probe(env, replicas[0].Status(), "/readyz")
		return status == http.StatusOK, said
	})
	if !env.IsActive(config, token.AccessToken) {
		t.Error("the access token is inactive")
	}
	next, err := refresh(env, config, token.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if !env.IsActive(config, next.AccessToken) {
		t.Error("the refreshed access token is inactive")
	}
	_, err = redeem()
	wantOAuthError(t, err, "invalid_grant")
	if env.IsActive(config, next.AccessToken) || env.IsActive(config, next.RefreshToken) {
		t.Error("the code was redeemed twice, and its tokens are active")
	}
}

func TestAnotherStorageBeginsWithNothingAndServes(t *testing.T) {
	env := testenv.New(t)
	config := passwordClient(env)
	before := passwordTokens(env, config, testenv.Username)
	env.Update(env.Server, func() { env.Server.Spec.Storage = &v1alpha1.StorageSettings{Type: v1alpha1.StorageMemory} })
	env.Eventually("a token that is kept elsewhere", 20*time.Second, func() (bool, string) {
		kept := len(grantsOf(env))
		_, err := config.PasswordCredentialsToken(env.Context(), testenv.Username, testenv.Password)
		return err == nil && len(grantsOf(env)) == kept, "there is none, or it is kept where the first was"
	})
	if env.IsActive(config, before.AccessToken) {
		t.Error("a token is active that the other storage knows")
	}
	_, err := refresh(env, config, before.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
}

func TestNothingInTheNamespaceHoldsASecretOfTheFlows(t *testing.T) {
	env := testenv.New(t, rotateAlways)
	config := webApp(env)
	verifier := oauth2.GenerateVerifier()
	code := env.SignIn(config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(verifier))).Query().Get("code")
	token, err := config.Exchange(env.Context(), code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	next, err := refresh(env, config, token.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := env.Post("/revoke", config, url.Values{"token": {next.AccessToken}}); status != http.StatusOK {
		t.Fatalf("revoke answers %d %v", status, answer)
	}
	kinds := testenv.ControlPlane.AdminConfig()
	for _, path := range []string{
		"/apis/oauth-operator.dev/v1alpha1/namespaces/" + env.ServerNamespace + "/oauthgrants", "/apis/oauth-operator.dev/v1alpha1/namespaces/" + env.ServerNamespace + "/oauthconsents",
		"/apis/internal.oauth-operator.dev/v1alpha1/namespaces/" + env.ServerNamespace + "/marks", "/apis/internal.oauth-operator.dev/v1alpha1/namespaces/" + env.ServerNamespace + "/entries",
		"/apis/internal.oauth-operator.dev/v1alpha1/namespaces/" + env.ServerNamespace + "/replicas",
	} {
		dump := getRaw(t, kinds, path)
		if !strings.Contains(dump, string(env.Server.UID)) {
			t.Errorf("%s is empty", path)
		}
		for name, secret := range map[string]string{
			"access token": token.AccessToken, "refresh token": token.RefreshToken, "next access token": next.AccessToken,
			"next refresh token": next.RefreshToken, "client secret": config.ClientSecret, "password": testenv.Password,
			"code": code, "verifier": verifier,
		} {
			parts := strings.Split(secret, ".")
			for _, part := range parts[min(1, len(parts)-1):] { // what stands before the first dot names a key
				if part == "" || strings.Contains(dump, part) {
					t.Errorf("%s holds the %s, or a part of it", path, name)
				}
			}
		}
	}
	_, err = config.Exchange(env.Context(), code, oauth2.VerifierOption(verifier))
	wantOAuthError(t, err, "invalid_grant")
}

func getRaw(t *testing.T, config *rest.Config, path string) string {
	t.Helper()
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.Get(config.Host + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
