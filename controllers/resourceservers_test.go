package controllers

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

const ordersAPI = "https://orders.example.com"

func (w *testEnv) readyAPI(identifier string, scopes ...string) *v1alpha1.ResourceServer {
	w.t.Helper()
	api := w.newAPI(identifier, scopes...)
	w.waitForCondition(api, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	return api
}

func (w *testEnv) scopesOf(identifier string) string {
	w.t.Helper()
	return strings.Join(scopeNames(documentAt[documents.ResourceServer](w, identifier)), " ")
}

func TestAResourceServerCannotHaveAnothersName(t *testing.T) {
	made := recordWrites(t)
	w := newEnv(t)
	w.readyAPI(ordersAPI, "orders:read")
	w.readyClient(asking("free-client"))
	w.readyUser("alice", "correct horse", subject("urn:alice"))
	for _, identifier := range []string{ordersAPI, ordersAPI + "/", w.server.Spec.Issuer, w.server.Spec.Issuer + "/", "urn:alice"} {
		api := w.newAPI(identifier, "new:scope")
		message := w.waitForCondition(api, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonIdentifierTaken)
		if !strings.Contains(message, "spec.identifier") || !strings.Contains(message, identifier) {
			t.Errorf("%s: %s", identifier, message)
		}
		made.waitUntilQuiet(t) // and nobody claims and releases scopes without end
		if slices.ContainsFunc(w.entries(), func(e internalv1alpha1.Entry) bool { return e.Spec.Owner.UID == api.UID }) {
			t.Errorf("%s: who is not served holds a name", identifier)
		}
		w.deleteObject(api)
	}
}

func TestAScopeBelongsToWhoDeclaredItFirst(t *testing.T) {
	w := newEnv(t)
	first := w.readyAPI(ordersAPI, "orders:read", "orders:write")
	second := w.newAPI("https://bills.example.com", "orders:read", "bills:read")
	message := w.waitForCondition(second, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonScopeTaken)
	w.waitForCondition(second, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted) // the rest of it is
	if !strings.Contains(message, `"orders:read"`) || strings.Contains(message, "bills:read") || strings.Contains(message, first.Name) {
		t.Error(message)
	}
	if own, other := w.scopesOf("https://bills.example.com"), w.scopesOf(ordersAPI); own != "bills:read" || other != "orders:read orders:write" {
		t.Errorf("the second has %q, the first %q", own, other)
	}
	updateObject(w, first, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = resourceScopes("orders:write") })
	w.waitForCondition(second, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if own, other := w.scopesOf("https://bills.example.com"), w.scopesOf(ordersAPI); own != "bills:read orders:read" || other != "orders:write" {
		t.Errorf("the second has %q, the first %q", own, other)
	}
}

func TestAResourceServerThatIsNotAllowedHoldsNoNames(t *testing.T) {
	w := newEnv(t, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedResourceServers[0].Identifiers, s.Spec.AllowedResourceServers[0].Scopes = []string{"https://*.example.com"}, []string{"orders:*"}
	})
	for identifier, scope := range map[string]string{"urn:orders": "orders:read", ordersAPI: "bills:read"} {
		api := w.newAPI(identifier, scope)
		message := w.waitForCondition(api, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer)
		if !strings.Contains(message, `rule "apps"`) {
			t.Error(message)
		}
		if w.entry(internalv1alpha1.SpaceIdentity, identifier) != nil || w.entry(internalv1alpha1.SpaceScope, scope) != nil {
			t.Errorf("%s keeps a name from others", identifier)
		}
	}
	// One that was allowed keeps what it has, and is refused by the token servers, who know the same rules.
	api := w.readyAPI("https://more.example.com", "orders:more")
	updateObject(w, w.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.AllowedResourceServers[0].Scopes = []string{"bills:*"} })
	w.waitForCondition(api, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer)
	if w.scopesOf("https://more.example.com") != "orders:more" || w.entry(internalv1alpha1.SpaceScope, "orders:more") == nil {
		t.Error("it lost its names")
	}
}

func TestAClientThatMayIntrospectHasToExistAndToBeConfidential(t *testing.T) {
	w := newEnv(t)
	api := w.readyAPI(ordersAPI)
	updateObject(w, api, func(api *v1alpha1.ResourceServer) {
		api.Spec.IntrospectionClients = []v1alpha1.ClientReference{{Name: "gateway"}}
	})
	message := w.waitForCondition(api, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonClientNotFound)
	if !strings.Contains(message, w.apps+"/gateway") {
		t.Error(message)
	}
	c := w.newClient(named("gateway"), func(c *v1alpha1.OAuthClient) {
		c.Spec.GrantTypes, c.Spec.RedirectURIs = []v1alpha1.GrantType{"authorization_code"}, []string{"http://127.0.0.1/cb"}
		c.Spec.TokenEndpointAuthMethod = v1alpha1.AuthMethodNone
	})
	w.waitForCondition(api, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	updateObject(w, c, func(c *v1alpha1.OAuthClient) { c.Spec.TokenEndpointAuthMethod = v1alpha1.AuthMethodPost })
	w.waitForCondition(api, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.deleteObject(c)
	w.waitForCondition(api, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonClientNotFound)
}

func TestAResourceServerThatIsCreatedAgainLeavesNothingBehind(t *testing.T) {
	made := recordWrites(t)
	w := newEnv(t)
	first := w.readyAPI(ordersAPI, "orders:read")
	second := first.DeepCopy()
	second.ResourceVersion, second.UID, second.Status = "", "", v1alpha1.ResourceServerStatus{}
	second.Spec.Identifier, second.Spec.Scopes = "https://new.example.com", resourceScopes("orders:new")
	made.whileWritesFail(t, func() { w.deleteObject(first); create(t, second) })
	w.waitForCondition(second, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	eventually.True(t, "nothing of the former one is served", func() bool {
		return !slices.ContainsFunc(w.entries(), func(e internalv1alpha1.Entry) bool { return e.Spec.Owner.UID == first.UID })
	})
}
