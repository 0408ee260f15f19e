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
	"github.com/oauth-operator/oauth-operator/test/world"
)

// webApp is a client that users sign in to and agree to.
func webApp(w *world.World) *oauth2.Config {
	w.T.Helper()
	return w.Config(w.Client("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs: []string{w.Callback}, Scopes: []string{"openid", "profile", "offline_access"},
	}), "openid", "profile", "offline_access")
}

// signedIn takes alice through the flow, and returns the code and what it was redeemed for.
func signedIn(w *world.World, config *oauth2.Config) (redeem func() (*oauth2.Token, error), token *oauth2.Token) {
	w.T.Helper()
	verifier := oauth2.GenerateVerifier()
	code := w.SignIn(config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(verifier))).Query().Get("code")
	redeem = func() (*oauth2.Token, error) {
		return config.Exchange(w.Context(), code, oauth2.VerifierOption(verifier))
	}
	token, err := redeem()
	if err != nil {
		w.T.Fatal(err)
	}
	return redeem, token
}

func refresh(w *world.World, config *oauth2.Config, refreshToken string) (*oauth2.Token, error) {
	return config.TokenSource(w.Context(), &oauth2.Token{RefreshToken: refreshToken}).Token()
}

func grants(w *world.World) []v1alpha1.OAuthGrant {
	w.T.Helper()
	var list v1alpha1.OAuthGrantList
	if err := world.Kube.List(w.T.Context(), &list, client.InNamespace(w.Identity)); err != nil {
		w.T.Fatal(err)
	}
	return list.Items
}

func TestDeletingAGrantRevokesItsTokensAndItsCodeStaysRedeemed(t *testing.T) {
	w := world.New(t)
	config := webApp(w)
	redeem, token := signedIn(w, config)
	found := grants(w)
	if len(found) != 1 || found[0].Spec.Username != world.Username || found[0].Spec.ClientID != config.ClientID || !found[0].Spec.Consented {
		t.Fatalf("grants: %+v", found)
	}
	if !w.Active(config, token.AccessToken) || !w.Active(config, token.RefreshToken) {
		t.Fatal("the tokens are inactive at the beginning")
	}
	w.Delete(&found[0])
	deadWithinASecond(w, config, token.AccessToken)
	if w.Active(config, token.RefreshToken) {
		t.Error("the refresh token is active")
	}
	if status, _ := w.Get("/userinfo", token.AccessToken); status != http.StatusUnauthorized {
		t.Errorf("userinfo answers %d", status)
	}
	_, err := refresh(w, config, token.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
	_, err = redeem()
	wantOAuthError(t, err, "invalid_grant")
	if left := grants(w); len(left) > 0 {
		t.Errorf("the code made a grant again: %+v", left[0].Spec)
	}
}

func TestDeletingAConsentEndsItsGrantsAndTheUserIsAskedAgain(t *testing.T) {
	w := world.New(t)
	config := webApp(w)
	_, token := signedIn(w, config)
	var consents v1alpha1.OAuthConsentList
	if err := world.Kube.List(t.Context(), &consents, client.InNamespace(w.Identity)); err != nil {
		t.Fatal(err)
	}
	if len(consents.Items) != 1 || consents.Items[0].Spec.Username != world.Username || consents.Items[0].Spec.ClientID != config.ClientID {
		t.Fatalf("consents: %+v", consents.Items)
	}
	w.Delete(&consents.Items[0])
	w.Eventually("the end of the grant", 3*time.Second, func() (bool, string) {
		found := grants(w)
		return len(found) == 1 && found[0].Spec.EndReason == "ConsentWithdrawn", "it has not ended"
	})
	deadWithinASecond(w, config, token.AccessToken)
	_, err := refresh(w, config, token.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
	_, again := signedIn(w, config)
	if !w.Active(config, again.AccessToken) {
		t.Error("after a new consent the token is inactive")
	}
}

func TestLoginsSurviveATokenServerThatIsKilled(t *testing.T) {
	w := world.New(t)
	config := webApp(w)
	redeem, token := signedIn(w, config)
	old := replica(w).PID()
	if err := replica(w).Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.Eventually("the next token server", 20*time.Second, func() (bool, string) {
		replicas := world.Operator.Node.Replicas(w.Identity, "main")
		if len(replicas) == 0 || replicas[0].PID() == old {
			return false, "none has started"
		}
		status, said := probe(w, replicas[0].Status(), "/readyz")
		return status == http.StatusOK, said
	})
	if !w.Active(config, token.AccessToken) {
		t.Error("the access token is inactive")
	}
	next, err := refresh(w, config, token.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if !w.Active(config, next.AccessToken) {
		t.Error("the refreshed access token is inactive")
	}
	_, err = redeem()
	wantOAuthError(t, err, "invalid_grant")
	if w.Active(config, next.AccessToken) || w.Active(config, next.RefreshToken) {
		t.Error("the code was redeemed twice, and its tokens are active")
	}
}

func TestAnotherStorageBeginsWithNothingAndServes(t *testing.T) {
	w := world.New(t)
	config := trusted(w)
	before := tokensOf(w, config, world.Username)
	w.Update(w.Server, func() { w.Server.Spec.Storage = &v1alpha1.StorageSettings{Type: v1alpha1.StorageMemory} })
	w.Eventually("a token that is kept elsewhere", 20*time.Second, func() (bool, string) {
		kept := len(grants(w))
		_, err := config.PasswordCredentialsToken(w.Context(), world.Username, world.Password)
		return err == nil && len(grants(w)) == kept, "there is none, or it is kept where the first was"
	})
	if w.Active(config, before.AccessToken) {
		t.Error("a token is active that the other storage knows")
	}
	_, err := refresh(w, config, before.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
}

func TestNothingInTheNamespaceHoldsASecretOfTheFlows(t *testing.T) {
	w := world.New(t)
	config := webApp(w)
	redeem, token := signedIn(w, config)
	next, err := refresh(w, config, token.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := w.Post("/revoke", config, url.Values{"token": {next.AccessToken}}); status != http.StatusOK {
		t.Fatalf("revoke answers %d %v", status, answer)
	}
	kinds := world.Cluster.AdminConfig()
	for _, path := range []string{
		"/apis/oauth-operator.dev/v1alpha1/namespaces/" + w.Identity + "/oauthgrants", "/apis/oauth-operator.dev/v1alpha1/namespaces/" + w.Identity + "/oauthconsents",
		"/apis/internal.oauth-operator.dev/v1alpha1/namespaces/" + w.Identity + "/marks", "/apis/internal.oauth-operator.dev/v1alpha1/namespaces/" + w.Identity + "/entries",
		"/apis/internal.oauth-operator.dev/v1alpha1/namespaces/" + w.Identity + "/replicas",
	} {
		dump := raw(t, kinds, path)
		if !strings.Contains(dump, string(w.Server.UID)) {
			t.Errorf("%s is empty", path)
		}
		for name, secret := range map[string]string{
			"access token": token.AccessToken, "refresh token": token.RefreshToken, "next access token": next.AccessToken,
			"next refresh token": next.RefreshToken, "client secret": config.ClientSecret, "password": world.Password,
		} {
			parts := strings.Split(secret, ".")
			for _, part := range parts[min(1, len(parts)-1):] { // what stands before the first dot names a key
				if strings.Contains(dump, part) {
					t.Errorf("%s holds the %s, or a part of it", path, name)
				}
			}
		}
	}
	_, err = redeem()
	wantOAuthError(t, err, "invalid_grant")
}

func raw(t *testing.T, config *rest.Config, path string) string {
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
