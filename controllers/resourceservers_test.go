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

func (env *testEnv) readyAPI(identifier string, scopes ...string) *v1alpha1.ResourceServer {
	env.t.Helper()
	api := env.newAPI(identifier, scopes...)
	env.waitForCondition(api, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	return api
}

func (env *testEnv) scopesOf(identifier string) string {
	env.t.Helper()
	return strings.Join(scopeNames(documentAt[documents.ResourceServer](env, identifier)), " ")
}

func TestAResourceServerCannotHaveAnothersName(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	env.readyAPI(ordersAPI, "orders:read")
	env.readyClient(asking("free-client"))
	env.readyUser("alice", "correct horse", subject("urn:alice"))
	for _, identifier := range []string{ordersAPI, ordersAPI + "/", env.server.Spec.Issuer, env.server.Spec.Issuer + "/", "urn:alice"} {
		api := env.newAPI(identifier, "new:scope")
		message := env.waitForCondition(api, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonIdentifierTaken)
		if !strings.Contains(message, "spec.identifier") || !strings.Contains(message, identifier) {
			t.Errorf("%s: %s", identifier, message)
		}
		made.waitUntilQuiet(t) // and scopes are not reserved and released without end
		if slices.ContainsFunc(env.entries(), func(e internalv1alpha1.Entry) bool { return e.Spec.Owner.UID == api.UID }) {
			t.Errorf("%s: who is not served holds a name", identifier)
		}
		env.deleteObject(api)
	}
}

func TestAScopeBelongsToWhoDeclaredItFirst(t *testing.T) {
	env := newEnv(t)
	first := env.readyAPI(ordersAPI, "orders:read", "orders:write")
	second := env.newAPI("https://bills.example.com", "orders:read", "bills:read")
	message := env.waitForCondition(second, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonScopeTaken)
	env.waitForCondition(second, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted) // the rest of it is
	if !strings.Contains(message, `"orders:read"`) || strings.Contains(message, "bills:read") || strings.Contains(message, first.Name) {
		t.Error(message)
	}
	if own, other := env.scopesOf("https://bills.example.com"), env.scopesOf(ordersAPI); own != "bills:read" || other != "orders:read orders:write" {
		t.Errorf("the second has %q, the first %q", own, other)
	}
	updateObject(env, first, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = resourceScopes("orders:write") })
	env.waitForCondition(second, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if own, other := env.scopesOf("https://bills.example.com"), env.scopesOf(ordersAPI); own != "bills:read orders:read" || other != "orders:write" {
		t.Errorf("the second has %q, the first %q", own, other)
	}
}

func TestAResourceServerThatIsNotAllowedHoldsNoNames(t *testing.T) {
	env := newEnv(t, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedResourceServers[0].Identifiers, s.Spec.AllowedResourceServers[0].Scopes = []string{"https://*.example.com"}, []string{"orders:*"}
	})
	for identifier, scope := range map[string]string{"urn:orders": "orders:read", ordersAPI: "bills:read"} {
		api := env.newAPI(identifier, scope)
		message := env.waitForCondition(api, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer)
		if !strings.Contains(message, `rule "apps"`) {
			t.Error(message)
		}
		if env.entry(internalv1alpha1.SpaceIdentity, identifier) != nil || env.entry(internalv1alpha1.SpaceScope, scope) != nil {
			t.Errorf("%s keeps a name from others", identifier)
		}
	}
	// One that was allowed keeps what it has, and is refused by the token servers, who know the
	// same rules.
	api := env.readyAPI("https://more.example.com", "orders:more")
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.AllowedResourceServers[0].Scopes = []string{"bills:*"} })
	env.waitForCondition(api, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer)
	if env.scopesOf("https://more.example.com") != "orders:more" || env.entry(internalv1alpha1.SpaceScope, "orders:more") == nil {
		t.Error("it lost its names")
	}
}

func TestAClientThatMayIntrospectHasToExistAndToBeConfidential(t *testing.T) {
	env := newEnv(t)
	api := env.readyAPI(ordersAPI)
	updateObject(env, api, func(api *v1alpha1.ResourceServer) {
		api.Spec.IntrospectionClients = []v1alpha1.ClientReference{{Name: "gateway"}}
	})
	message := env.waitForCondition(api, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonClientNotFound)
	if !strings.Contains(message, env.apps+"/gateway") {
		t.Error(message)
	}
	c := env.newClient(named("gateway"), func(c *v1alpha1.OAuthClient) {
		c.Spec.GrantTypes, c.Spec.RedirectURIs = []v1alpha1.GrantType{"authorization_code"}, []string{"http://127.0.0.1/cb"}
		c.Spec.TokenEndpointAuthMethod = v1alpha1.AuthMethodNone
	})
	env.waitForCondition(api, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.TokenEndpointAuthMethod = v1alpha1.AuthMethodPost })
	env.waitForCondition(api, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	env.deleteObject(c)
	env.waitForCondition(api, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonClientNotFound)
}

func TestAResourceServerThatIsCreatedAgainLeavesNothingBehind(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	first := env.readyAPI(ordersAPI, "orders:read")
	second := first.DeepCopy()
	second.ResourceVersion, second.UID, second.Status = "", "", v1alpha1.ResourceServerStatus{}
	second.Spec.Identifier, second.Spec.Scopes = "https://new.example.com", resourceScopes("orders:new")
	made.whileWritesFail(t, func() { env.deleteObject(first); create(t, second) })
	env.waitForCondition(second, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	eventually.True(t, "nothing of the former one is served", func() bool {
		return !slices.ContainsFunc(env.entries(), func(e internalv1alpha1.Entry) bool { return e.Spec.Owner.UID == first.UID })
	})
}
