package controllers

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

func signsIn(grants ...v1alpha1.GrantType) func(*v1alpha1.OAuthClient) {
	return func(c *v1alpha1.OAuthClient) {
		c.Spec.GrantTypes, c.Spec.RedirectURIs = grants, []string{"https://shop.example.com/callback"}
	}
}

func TestAClientToWhichNobodyCanSignInIsNotReady(t *testing.T) {
	env := newEnv(t)
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.AllowedClients[0].IdentityProviders = []string{"acme"} })
	web := env.newClient(signsIn("authorization_code", "refresh_token"))
	both := env.newClient(signsIn("authorization_code", "client_credentials"))
	machine := env.readyClient()
	out := func(why string) {
		t.Helper()
		message := env.waitForCondition(web, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNoIdentityProvider)
		if !strings.Contains(message, "requests with authorization_code and refresh_token are refused") || strings.Contains(message, "acme") {
			t.Errorf("%s: %s", why, message)
		}
		eventually.True(t, why, func() bool { return strings.Contains(env.readyMessage(both), "; but ") })
		if message := env.readyMessage(both); !strings.HasPrefix(message, "token requests succeed; but rule \"apps\" of the server lets in the users of identity providers alone") {
			t.Errorf("%s: %s", why, message)
		}
	}
	in := func() {
		t.Helper()
		env.waitForCondition(web, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		eventually.True(t, "the other client", func() bool { return env.readyMessage(both) == "token requests succeed" })
	}
	out("missing")
	acme := env.newProvider("acme")
	in()
	updateObject(env, acme, func(p *v1alpha1.IdentityProvider) { p.Spec.Suspended = true })
	out("suspended")
	updateObject(env, acme, func(p *v1alpha1.IdentityProvider) { p.Spec.Suspended = false })
	in()
	updateObject(env, acme, func(p *v1alpha1.IdentityProvider) { p.Spec.Allow = "upstream.(" })
	out("not accepted")
	updateObject(env, acme, func(p *v1alpha1.IdentityProvider) { p.Spec.Allow = "true" })
	in()
	env.deleteObject(acme)
	out("deleted")
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients[0].IdentityProviders = []string{"acme", "local"}
	})
	in()
	if message := env.readyMessage(machine); message != "token requests succeed" {
		t.Errorf("a client to which no user signs in: %s", message)
	}
}

// readyMessage returns the message of a client that is Ready, or "" if it is not.
func (env *testEnv) readyMessage(c *v1alpha1.OAuthClient) string {
	env.t.Helper()
	env.get(c)
	ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady)
	if ready.Status != metav1.ConditionTrue {
		return ""
	}
	return ready.Message
}
