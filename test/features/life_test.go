package features

import (
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// api applies a ResourceServer in the app team's namespace and waits until it is Ready.
func (w *world) api(identifier string, scopes ...string) *v1alpha1.ResourceServer {
	w.t.Helper()
	r := &v1alpha1.ResourceServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: "api"},
		Spec:       v1alpha1.ResourceServerSpec{ServerRef: v1alpha1.ServerReference{Name: "main", Namespace: w.identity}, Identifier: identifier},
	}
	for _, scope := range scopes {
		r.Spec.Scopes = append(r.Spec.Scopes, v1alpha1.ResourceScope{Name: scope})
	}
	w.create(r)
	w.wait("the ResourceServer to be Ready", r, func() bool { return isTrue(r.Status.Conditions, v1alpha1.ConditionReady) })
	return r
}

var serviceSpec = v1alpha1.OAuthClientSpec{
	GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: "client_secret_basic",
}

// service asks for a token by client credentials.
func (w *world) service(config *oauth2.Config) (int, string) {
	w.t.Helper()
	status, answer := w.post("/token", config, url.Values{"grant_type": {"client_credentials"}})
	code, _ := answer["error"].(string)
	return status, code
}

// refusedWithinASecond waits until the client's requests are refused as an unknown client's.
func (w *world) refusedWithinASecond(config *oauth2.Config) {
	w.t.Helper()
	w.eventually("the refusal", time.Second, func() (bool, string) {
		status, code := w.service(config)
		return status == http.StatusUnauthorized && code == "invalid_client", code
	})
}

func (w *world) servedWithinASecond(config *oauth2.Config) {
	w.t.Helper()
	w.eventually("the token", time.Second, func() (bool, string) {
		status, code := w.service(config)
		return status == http.StatusOK, code
	})
}

func TestASuspendedClientIsRefusedWithinASecondAndServedAgainAfterwards(t *testing.T) {
	w := newWorld(t)
	c := w.client("service", serviceSpec)
	config := w.config(c)
	w.servedWithinASecond(config)
	w.update(c, func() { c.Spec.Suspended = true })
	w.refusedWithinASecond(config)
	w.update(c, func() { c.Spec.Suspended = false })
	w.servedWithinASecond(config)
}

func TestADeletedClientIsRefusedWithinASecondAndItsSuccessorInheritsNothing(t *testing.T) {
	w := newWorld(t)
	c := w.client("service", serviceSpec)
	before := w.config(c)
	if err := kube.Delete(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	w.refusedWithinASecond(before)
	after := w.config(w.client("service", serviceSpec))
	if after.ClientID != before.ClientID || after.ClientSecret == before.ClientSecret {
		t.Errorf("want the same client id and another secret")
	}
	w.servedWithinASecond(after)
	w.refusedWithinASecond(before)
}

func TestATightenedRuleActsOnRunningClientsWithinASecond(t *testing.T) {
	w := newWorld(t)
	config := w.config(w.client("service", serviceSpec))
	w.servedWithinASecond(config)
	w.update(w.server, func() { w.server.Spec.AllowedClients[0].GrantTypes = []v1alpha1.GrantType{"authorization_code"} })
	w.refusedWithinASecond(config)
	w.update(w.server, func() { w.server.Spec.AllowedClients[0].GrantTypes = nil })
	w.servedWithinASecond(config)
}

func TestANamespaceThatLosesItsLabelLosesItsClients(t *testing.T) {
	w := newWorld(t)
	config := w.config(w.client("service", serviceSpec))
	w.servedWithinASecond(config)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.apps}}
	w.update(namespace, func() { delete(namespace.Labels, "apps-of") })
	w.refusedWithinASecond(config)
}

func TestAClientThatNoRuleAllowsIsToldWhichFieldIsAtFault(t *testing.T) {
	w := newWorld(t, func(s *v1alpha1.AuthorizationServer) { s.Spec.AllowedClients[0].GrantTypes = nil })
	c := w.unready("legacy", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"password"}, TokenEndpointAuthMethod: "client_secret_basic",
	})
	w.wait("the refusal", c, func() bool {
		return meta.IsStatusConditionFalse(c.Status.Conditions, v1alpha1.ConditionAccepted)
	})
	accepted := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionAccepted)
	if accepted.Reason != v1alpha1.ReasonNotAllowedByServer || !strings.Contains(accepted.Message, "password") || !strings.Contains(accepted.Message, "apps") {
		t.Errorf("want the rule and the grant type named, got %s: %s", accepted.Reason, accepted.Message)
	}
}

func TestAScopeThatNobodyDeclaresIsLeftOutAndTheRestWorks(t *testing.T) {
	w := newWorld(t)
	w.api("https://orders.example.com", "orders:read")
	spec := serviceSpec
	spec.Scopes = []string{"orders:read", "orders:raed"}
	c := w.unready("service", spec)
	w.wait("the finding", c, func() bool {
		return meta.IsStatusConditionFalse(c.Status.Conditions, v1alpha1.ConditionResolvedRefs) &&
			isTrue(c.Status.Conditions, v1alpha1.ConditionProgrammed)
	})
	found := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionResolvedRefs)
	if found.Reason != v1alpha1.ReasonUnknownScope || !strings.Contains(found.Message, "orders:raed") || strings.Contains(found.Message, "orders:read") {
		t.Errorf("want the unknown scope named and no other, got %s: %s", found.Reason, found.Message)
	}
	status, answer := w.post("/token", w.config(c), url.Values{"grant_type": {"client_credentials"}})
	if status != http.StatusOK || answer["scope"] != "orders:read" {
		t.Errorf("want a token for orders:read, got %d %v", status, answer["scope"])
	}
}

func TestASecondAuthorizationServerServesItsOwnIssuerAndNoOthersClients(t *testing.T) {
	one, two := newWorld(t), newWorld(t)
	config := one.config(one.client("service", serviceSpec))
	one.servedWithinASecond(config)
	if status, code := two.service(config); status != http.StatusUnauthorized || code != "invalid_client" {
		t.Errorf("the other server answered %d %s", status, code)
	}
}

func TestATokenServerCanReadNoSecret(t *testing.T) {
	w := newWorld(t)
	config, err := cluster.ConfigFor(t.Context(), w.identity, "main-tokenserver")
	if err != nil {
		t.Fatal(err)
	}
	asServer, err := newClient(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{w.identity, w.apps, "oauth-operator-system", "kube-system"} {
		if err := asServer.List(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace)); err == nil {
			t.Errorf("it lists the Secrets of %s", namespace)
		}
	}
	key := client.ObjectKey{Namespace: w.identity, Name: "main-tokenserver-keys"}
	if err := kube.Get(t.Context(), key, &corev1.Secret{}); err != nil {
		t.Fatal(err)
	}
	if err := asServer.Get(t.Context(), key, &corev1.Secret{}); err == nil {
		t.Error("it reads its own keys from the API server")
	}
}

func TestATokenServerThatIsKilledComesBackAndServes(t *testing.T) {
	w := newWorld(t)
	config := w.config(w.client("service", serviceSpec))
	w.servedWithinASecond(config)
	if err := running.Node.Replicas(w.identity, "main")[0].Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.eventually("the token server", 20*time.Second, func() (bool, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.issuer+"/jwks", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, err.Error()
		}
		return response.Body.Close() == nil && response.StatusCode == http.StatusOK, response.Status
	})
	w.eventually("a token", 10*time.Second, func() (bool, string) {
		status, code := w.service(config)
		return status == http.StatusOK, code
	})
}

func TestNoSecretIsInAnyLogOrDocument(t *testing.T) {
	w := newWorld(t)
	config := w.config(w.client("service", serviceSpec))
	w.servedWithinASecond(config)
	if everything := logs.String(); strings.Contains(everything, config.ClientSecret) || strings.Contains(everything, password) {
		t.Error("a secret is in a log")
	}
}

// wantLegacy checks that the client says what RFC 9700 says of its grant types.
func wantLegacy(t *testing.T, c *v1alpha1.OAuthClient) {
	t.Helper()
	if !isTrue(c.Status.Conditions, v1alpha1.ConditionLegacyGrant) {
		t.Errorf("want the condition LegacyGrant, got %v", c.Status.Conditions)
	}
}
