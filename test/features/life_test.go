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
	"github.com/oauth-operator/oauth-operator/test/world"
)

var serviceSpec = v1alpha1.OAuthClientSpec{
	GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: "client_secret_basic",
}

// serviceToken asks for a token by client credentials.
func serviceToken(w *world.World, config *oauth2.Config) (int, string) {
	w.T.Helper()
	status, answer := w.Post("/token", config, url.Values{"grant_type": {"client_credentials"}})
	code, _ := answer["error"].(string)
	return status, code
}

// refusedWithinASecond waits until the client's requests are refused as an unknown client's.
func refusedWithinASecond(w *world.World, config *oauth2.Config) {
	w.T.Helper()
	w.Eventually("the refusal", time.Second, func() (bool, string) {
		status, code := serviceToken(w, config)
		return status == http.StatusUnauthorized && code == "invalid_client", code
	})
}

func servedWithinASecond(w *world.World, config *oauth2.Config) {
	w.T.Helper()
	w.Eventually("the token", time.Second, func() (bool, string) {
		status, code := serviceToken(w, config)
		return status == http.StatusOK, code
	})
}

func TestASuspendedClientIsRefusedWithinASecondAndServedAgainAfterwards(t *testing.T) {
	w := world.New(t)
	c := w.Client("service", serviceSpec)
	config := w.Config(c)
	servedWithinASecond(w, config)
	w.Update(c, func() { c.Spec.Suspended = true })
	refusedWithinASecond(w, config)
	w.Update(c, func() { c.Spec.Suspended = false })
	servedWithinASecond(w, config)
}

func TestADeletedClientIsRefusedWithinASecondAndItsSuccessorInheritsNothing(t *testing.T) {
	w := world.New(t)
	c := w.Client("service", serviceSpec)
	before := w.Config(c)
	if err := world.Kube.Delete(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	refusedWithinASecond(w, before)
	after := w.Config(w.Client("service", serviceSpec))
	if after.ClientID != before.ClientID || after.ClientSecret == before.ClientSecret {
		t.Errorf("want the same client id and another secret")
	}
	servedWithinASecond(w, after)
	refusedWithinASecond(w, before)
}

func TestATightenedRuleActsOnRunningClientsWithinASecond(t *testing.T) {
	w := world.New(t)
	config := w.Config(w.Client("service", serviceSpec))
	servedWithinASecond(w, config)
	w.Update(w.Server, func() { w.Server.Spec.AllowedClients[0].GrantTypes = []v1alpha1.GrantType{"authorization_code"} })
	refusedWithinASecond(w, config)
	w.Update(w.Server, func() { w.Server.Spec.AllowedClients[0].GrantTypes = nil })
	servedWithinASecond(w, config)
}

func TestALoweredLifetimeActsOnRunningClientsWithinASecond(t *testing.T) {
	w := world.New(t)
	config := w.Config(w.Client("service", serviceSpec))
	lifetime := func(want time.Duration) {
		t.Helper()
		w.Eventually("the lifetime of "+want.String(), time.Second, func() (bool, string) {
			_, answer := w.Post("/token", config, url.Values{"grant_type": {"client_credentials"}})
			return answer["expires_in"] == want.Seconds(), fmt.Sprint(answer["expires_in"])
		})
	}
	servedWithinASecond(w, config)
	lifetime(5 * time.Minute)
	w.Update(w.Server, func() {
		w.Server.Spec.Tokens = &v1alpha1.TokenSettings{AccessTokenLifetime: &metav1.Duration{Duration: 42 * time.Second}}
	})
	lifetime(42 * time.Second)
}

func TestANamespaceThatLosesItsLabelLosesItsClients(t *testing.T) {
	w := world.New(t)
	config := w.Config(w.Client("service", serviceSpec))
	servedWithinASecond(w, config)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.Apps}}
	w.Update(namespace, func() { delete(namespace.Labels, "apps-of") })
	refusedWithinASecond(w, config)
}

func TestAClientThatNoRuleAllowsIsToldWhichFieldIsAtFault(t *testing.T) {
	w := world.New(t, func(s *v1alpha1.AuthorizationServer) { s.Spec.AllowedClients[0].GrantTypes = nil })
	c := w.Unready("legacy", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"password"}, TokenEndpointAuthMethod: "client_secret_basic",
	})
	w.Wait("the refusal", c, func() bool {
		return meta.IsStatusConditionFalse(c.Status.Conditions, v1alpha1.ConditionAccepted)
	})
	accepted := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionAccepted)
	if accepted.Reason != v1alpha1.ReasonNotAllowedByServer || !strings.Contains(accepted.Message, "password") || !strings.Contains(accepted.Message, "apps") {
		t.Errorf("want the rule and the grant type named, got %s: %s", accepted.Reason, accepted.Message)
	}
}

func TestAScopeThatNobodyDeclaresIsLeftOutAndTheRestWorks(t *testing.T) {
	w := world.New(t)
	w.API("https://orders.example.com", []string{"orders:read"})
	spec := serviceSpec
	spec.Scopes = []string{"orders:read", "orders:raed"}
	c := w.Unready("service", spec)
	w.Wait("the finding", c, func() bool {
		return meta.IsStatusConditionFalse(c.Status.Conditions, v1alpha1.ConditionResolvedRefs) &&
			world.IsTrue(c.Status.Conditions, v1alpha1.ConditionProgrammed)
	})
	found := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionResolvedRefs)
	if found.Reason != v1alpha1.ReasonUnknownScope || !strings.Contains(found.Message, "orders:raed") || strings.Contains(found.Message, "orders:read") {
		t.Errorf("want the unknown scope named and no other, got %s: %s", found.Reason, found.Message)
	}
	status, answer := w.Post("/token", w.Config(c), url.Values{"grant_type": {"client_credentials"}})
	if status != http.StatusOK || answer["scope"] != "orders:read" {
		t.Errorf("want a token for orders:read, got %d %v", status, answer["scope"])
	}
}

func TestASecondAuthorizationServerServesItsOwnIssuerAndNoOthersClients(t *testing.T) {
	one, two := world.New(t), world.New(t)
	config := one.Config(one.Client("service", serviceSpec))
	servedWithinASecond(one, config)
	if status, code := serviceToken(two, config); status != http.StatusUnauthorized || code != "invalid_client" {
		t.Errorf("the other server answered %d %s", status, code)
	}
}

func TestATokenServerCanReadNoSecret(t *testing.T) {
	w := world.New(t)
	config, err := world.Cluster.ConfigFor(t.Context(), w.Identity, "main-tokenserver")
	if err != nil {
		t.Fatal(err)
	}
	asServer, err := world.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{w.Identity, w.Apps, "oauth-operator-system", "kube-system"} {
		if err := asServer.List(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace)); !apierrors.IsForbidden(err) {
			t.Errorf("listing the Secrets of %s is not forbidden: %v", namespace, err)
		}
	}
	key := client.ObjectKey{Namespace: w.Identity, Name: "main-tokenserver-keys"}
	if err := world.Kube.Get(t.Context(), key, &corev1.Secret{}); err != nil {
		t.Fatal(err)
	}
	if err := asServer.Get(t.Context(), key, &corev1.Secret{}); !apierrors.IsForbidden(err) {
		t.Errorf("reading its own keys from the API server is not forbidden: %v", err)
	}
}

func TestATokenServerThatIsKilledComesBackAndServes(t *testing.T) {
	w := world.New(t)
	config := w.Config(w.Client("service", serviceSpec))
	servedWithinASecond(w, config)
	if err := world.Operator.Node.Replicas(w.Identity, "main")[0].Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.Eventually("the token server", 20*time.Second, func() (bool, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Issuer+"/jwks", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, err.Error()
		}
		return response.Body.Close() == nil && response.StatusCode == http.StatusOK, response.Status
	})
	w.Eventually("a token", 10*time.Second, func() (bool, string) {
		status, code := serviceToken(w, config)
		return status == http.StatusOK, code
	})
}

func TestNoSecretIsInAnyLogMetricOrDocument(t *testing.T) {
	w := world.New(t)
	config := w.Config(w.Client("service", serviceSpec))
	servedWithinASecond(w, config)
	app := trusted(w)
	tokens := tokensOf(w, app, world.Username)
	// What is refused is told of, and must not be quoted.
	const mistyped = "the password of another place"
	for _, form := range []url.Values{
		{"grant_type": {"password"}, "username": {world.Username}, "password": {mistyped}},
		{"grant_type": {"refresh_token"}, "refresh_token": {tokens.RefreshToken + "x"}},
		{"grant_type": {"authorization_code"}, "code": {"a-code-that-nobody-issued"}, "redirect_uri": {w.Callback}},
	} {
		if status, answer := w.Post("/token", app, form); status == http.StatusOK {
			t.Fatalf("%v", answer)
		}
	}
	wrong := *config
	wrong.ClientSecret += "x"
	if status, code := serviceToken(w, &wrong); code != "invalid_client" {
		t.Fatalf("%d %s", status, code)
	}
	_, metrics := probe(w, replica(w).Status(), "/metrics")
	served := raw(t, world.Cluster.AdminConfig(), "/apis/internal.oauth-operator.dev/v1alpha1/namespaces/"+w.Identity+"/entries")
	for where, text := range map[string]string{"log": world.Logs.String(), "metric": metrics, "document": served} {
		if len(text) < 1000 {
			t.Errorf("nothing was looked at in place of each %s: %q", where, text)
		}
		for what, secret := range map[string]string{
			"client's secret": config.ClientSecret, "other client's secret": app.ClientSecret, "password": world.Password, "mistyped password": mistyped,
			"access token": tokens.AccessToken, "refresh token": tokens.RefreshToken, "code": "a-code-that-nobody-issued",
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
	if !world.IsTrue(c.Status.Conditions, v1alpha1.ConditionLegacyGrant) {
		t.Errorf("want the condition LegacyGrant, got %v", c.Status.Conditions)
	}
}
