package features

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

var serviceSpec = v1alpha1.OAuthClientSpec{
	GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: "client_secret_basic",
}

// serviceToken asks for a token by client credentials.
func serviceToken(env *testenv.Env, config *oauth2.Config) (int, string) {
	env.T.Helper()
	status, answer := env.Post("/token", config, url.Values{"grant_type": {"client_credentials"}})
	code, _ := answer["error"].(string)
	return status, code
}

// refusedWithinASecond waits until the client's requests are refused as an unknown client's.
func refusedWithinASecond(env *testenv.Env, config *oauth2.Config) {
	env.T.Helper()
	env.Eventually("the refusal", time.Second, func() (bool, string) {
		status, code := serviceToken(env, config)
		return status == http.StatusUnauthorized && code == "invalid_client", code
	})
}

func servedWithinASecond(env *testenv.Env, config *oauth2.Config) {
	env.T.Helper()
	env.Eventually("the token", time.Second, func() (bool, string) {
		status, code := serviceToken(env, config)
		return status == http.StatusOK, code
	})
}

func TestASuspendedClientIsRefusedWithinASecondAndServedAgainAfterwards(t *testing.T) {
	env := testenv.New(t)
	c := env.ReadyClient("service", serviceSpec)
	config := env.Config(c)
	servedWithinASecond(env, config)
	env.Update(c, func() { c.Spec.Suspended = true })
	refusedWithinASecond(env, config)
	env.Update(c, func() { c.Spec.Suspended = false })
	servedWithinASecond(env, config)
}

func TestADeletedClientIsRefusedWithinASecondAndItsSuccessorInheritsNothing(t *testing.T) {
	env := testenv.New(t)
	c := env.ReadyClient("service", serviceSpec)
	before := env.Config(c)
	if err := testenv.Kube.Delete(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	refusedWithinASecond(env, before)
	after := env.Config(env.ReadyClient("service", serviceSpec))
	if after.ClientID != before.ClientID || after.ClientSecret == before.ClientSecret {
		t.Errorf("want the same client id and another secret")
	}
	servedWithinASecond(env, after)
	refusedWithinASecond(env, before)
}

func TestATightenedRuleActsOnRunningClientsWithinASecond(t *testing.T) {
	env := testenv.New(t)
	config := env.Config(env.ReadyClient("service", serviceSpec))
	servedWithinASecond(env, config)
	env.Update(env.Server, func() { env.Server.Spec.AllowedClients[0].GrantTypes = []v1alpha1.GrantType{"authorization_code"} })
	refusedWithinASecond(env, config)
	env.Update(env.Server, func() { env.Server.Spec.AllowedClients[0].GrantTypes = nil })
	servedWithinASecond(env, config)
}

func TestALoweredLifetimeActsOnRunningClientsWithinASecond(t *testing.T) {
	env := testenv.New(t)
	config := env.Config(env.ReadyClient("service", serviceSpec))
	lifetime := func(want time.Duration) {
		t.Helper()
		env.Eventually("the lifetime of "+want.String(), time.Second, func() (bool, string) {
			_, answer := env.Post("/token", config, url.Values{"grant_type": {"client_credentials"}})
			return answer["expires_in"] == want.Seconds(), fmt.Sprint(answer["expires_in"])
		})
	}
	servedWithinASecond(env, config)
	lifetime(5 * time.Minute)
	env.Update(env.Server, func() {
		env.Server.Spec.Tokens = &v1alpha1.TokenSettings{AccessTokenLifetime: &metav1.Duration{Duration: 42 * time.Second}}
	})
	lifetime(42 * time.Second)
}

func TestANamespaceThatLosesItsLabelLosesItsClients(t *testing.T) {
	env := testenv.New(t)
	config := env.Config(env.ReadyClient("service", serviceSpec))
	servedWithinASecond(env, config)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: env.AppNamespace}}
	env.Update(namespace, func() { delete(namespace.Labels, "apps-of") })
	refusedWithinASecond(env, config)
}

func TestAClientThatNoRuleAllowsIsToldWhichFieldIsAtFault(t *testing.T) {
	env := testenv.New(t, func(s *v1alpha1.AuthorizationServer) { s.Spec.AllowedClients[0].GrantTypes = nil })
	c := env.CreateClient("legacy", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"password"}, TokenEndpointAuthMethod: "client_secret_basic",
	})
	env.WaitFor("the refusal", c, func() bool {
		return meta.IsStatusConditionFalse(c.Status.Conditions, v1alpha1.ConditionAccepted)
	})
	accepted := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionAccepted)
	if accepted.Reason != v1alpha1.ReasonNotAllowedByServer || !strings.Contains(accepted.Message, "password") || !strings.Contains(accepted.Message, "apps") {
		t.Errorf("want the rule and the grant type named, got %s: %s", accepted.Reason, accepted.Message)
	}
}

func TestAScopeThatNobodyDeclaresIsLeftOutAndTheRestWorks(t *testing.T) {
	env := testenv.New(t)
	env.ReadyAPI("https://orders.example.com", []string{"orders:read"})
	spec := serviceSpec
	spec.Scopes = []string{"orders:read", "orders:raed"}
	c := env.CreateClient("service", spec)
	env.WaitFor("the finding", c, func() bool {
		return meta.IsStatusConditionFalse(c.Status.Conditions, v1alpha1.ConditionResolvedRefs) &&
			testenv.IsTrue(c.Status.Conditions, v1alpha1.ConditionProgrammed)
	})
	found := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionResolvedRefs)
	if found.Reason != v1alpha1.ReasonUnknownScope || !strings.Contains(found.Message, "orders:raed") || strings.Contains(found.Message, "orders:read") {
		t.Errorf("want the unknown scope named and no other, got %s: %s", found.Reason, found.Message)
	}
	status, answer := env.Post("/token", env.Config(c), url.Values{"grant_type": {"client_credentials"}})
	if status != http.StatusOK || answer["scope"] != "orders:read" {
		t.Errorf("want a token for orders:read, got %d %v", status, answer["scope"])
	}
}

func TestASecondAuthorizationServerServesItsOwnIssuerAndNoOthersClients(t *testing.T) {
	one, two := testenv.New(t), testenv.New(t)
	config := one.Config(one.ReadyClient("service", serviceSpec))
	servedWithinASecond(one, config)
	if status, code := serviceToken(two, config); status != http.StatusUnauthorized || code != "invalid_client" {
		t.Errorf("the other server answered %d %s", status, code)
	}
}

func TestATokenServerCanReadNoSecret(t *testing.T) {
	env := testenv.New(t)
	config, err := testenv.ControlPlane.ConfigFor(t.Context(), env.ServerNamespace, "main-tokenserver")
	if err != nil {
		t.Fatal(err)
	}
	asServer, err := testenv.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{env.ServerNamespace, env.AppNamespace, "oauth-operator-system", "kube-system"} {
		if err := asServer.List(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace)); !apierrors.IsForbidden(err) {
			t.Errorf("listing the Secrets of %s is not forbidden: %v", namespace, err)
		}
	}
	key := client.ObjectKey{Namespace: env.ServerNamespace, Name: "main-tokenserver-keys"}
	if err := testenv.Kube.Get(t.Context(), key, &corev1.Secret{}); err != nil {
		t.Fatal(err)
	}
	if err := asServer.Get(t.Context(), key, &corev1.Secret{}); !apierrors.IsForbidden(err) {
		t.Errorf("reading its own keys from the API server is not forbidden: %v", err)
	}
}

func TestATokenServerThatIsKilledComesBackAndServes(t *testing.T) {
	env := testenv.New(t)
	config := env.Config(env.ReadyClient("service", serviceSpec))
	servedWithinASecond(env, config)
	if err := testenv.Operator.Node.Replicas(env.ServerNamespace, "main")[0].Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	env.Eventually("the token server", 20*time.Second, func() (bool, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, env.Issuer+"/jwks", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, err.Error()
		}
		return response.Body.Close() == nil && response.StatusCode == http.StatusOK, response.Status
	})
	env.Eventually("a token", 10*time.Second, func() (bool, string) {
		status, code := serviceToken(env, config)
		return status == http.StatusOK, code
	})
}

func TestNoSecretIsInAnyLogMetricOrDocument(t *testing.T) {
	env := testenv.New(t)
	config := env.Config(env.ReadyClient("service", serviceSpec))
	servedWithinASecond(env, config)
	app := passwordClient(env)
	tokens := passwordTokens(env, app, testenv.Username)
	web := webApp(env)
	verifier := oauth2.GenerateVerifier()
	code := env.SignIn(web.AuthCodeURL("xyz", oauth2.S256ChallengeOption(verifier))).Query().Get("code")
	redeemed, err := web.Exchange(env.Context(), code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := web.Exchange(env.Context(), code, oauth2.VerifierOption(verifier)); err == nil {
		t.Fatal("a code was redeemed twice")
	}
	// What is refused is told of, and must not be quoted.
	const mistyped = "the password of another place"
	for _, form := range []url.Values{
		{"grant_type": {"password"}, "username": {testenv.Username}, "password": {mistyped}},
		{"grant_type": {"refresh_token"}, "refresh_token": {tokens.RefreshToken + "x"}},
		{"grant_type": {"authorization_code"}, "code": {"a-code-that-was-not-issued"}, "redirect_uri": {env.Callback}},
	} {
		if status, answer := env.Post("/token", app, form); status == http.StatusOK {
			t.Fatalf("%v", answer)
		}
	}
	wrong := *config
	wrong.ClientSecret += "x"
	if status, code := serviceToken(env, &wrong); code != "invalid_client" {
		t.Fatalf("%d %s", status, code)
	}
	_, metrics := probe(env, replica(env).Status(), "/metrics")
	served := getRaw(t, testenv.ControlPlane.AdminConfig(), "/apis/internal.oauth-operator.dev/v1alpha1/namespaces/"+env.ServerNamespace+"/entries")
	for where, text := range map[string]string{"log": testenv.Logs.String(), "metric": metrics, "document": served} {
		if len(text) < 1000 {
			t.Errorf("nothing was looked at in place of each %s: %q", where, text)
		}
		for what, secret := range map[string]string{
			"client's secret": config.ClientSecret, "other client's secret": app.ClientSecret, "password": testenv.Password, "mistyped password": mistyped,
			"access token": tokens.AccessToken, "refresh token": tokens.RefreshToken, "code that was made up": "a-code-that-was-not-issued",
			"code": code, "verifier": verifier, "redeemed access token": redeemed.AccessToken, "redeemed refresh token": redeemed.RefreshToken,
		} {
			if strings.Contains(text, secret[strings.LastIndex(secret, ".")+1:]) {
				t.Errorf("the %s is in a %s", what, where)
			}
		}
	}
}

// wantLegacy checks that the client says what RFC 9700 says of its grant types.
func wantLegacy(t *testing.T, c *v1alpha1.OAuthClient) {
	t.Helper()
	if !testenv.IsTrue(c.Status.Conditions, v1alpha1.ConditionLegacyGrant) {
		t.Errorf("want the condition LegacyGrant, got %v", c.Status.Conditions)
	}
}
