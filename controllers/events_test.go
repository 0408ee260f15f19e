package controllers

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Objects that are applied together, in whatever order, get ready without a warning; one whose
// needs are not met is warned of when it is not new any more.
func TestACleanFirstApplyLeavesNoWarnings(t *testing.T) {
	env := newEnvWithoutManager(t, func(s *v1alpha1.AuthorizationServer) { s.Spec.AllowedClients[0].IdentityProviders = []string{"acme"} })
	startManager(t)
	const scope = "orders:read"
	c := env.newClient(func(c *v1alpha1.OAuthClient) { c.Spec.Scopes = []string{scope} })
	env.waitForCondition(c, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonServerNotFound)
	web := env.newClient(signsIn("authorization_code"))
	user := env.newUser("alice", "")
	create(t, env.server)
	env.waitForCondition(env.server, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonNoReplica)
	env.waitForCondition(c, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonUnknownScope)
	env.waitForCondition(user, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	env.newSecret(env.identity, "alice", map[string]string{"password": "correct horse"})
	env.replica = env.newReplica("main-0", "", func(r *internalv1alpha1.Replica) {
		r.Spec.Ready, r.Spec.Problem = false, "the Entries have not been read yet"
	})
	env.waitForCondition(env.server, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonReplicaProblem)
	updateObject(env, env.replica, func(r *internalv1alpha1.Replica) {
		r.Spec.Ready, r.Spec.Problem, r.Spec.AppliedResourceVersion = true, "", maxResourceVersion
	})
	api := env.newAPI("https://api.example.com", scope)
	env.waitForCondition(web, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNoIdentityProvider)
	acme := env.readyProvider("acme")
	forgotten := env.newClient(func(c *v1alpha1.OAuthClient) { c.Spec.Scopes = []string{"no:such"} })
	for _, o := range []client.Object{c, web, user, api, acme, env.server} {
		env.waitForCondition(o, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	}
	warned := func(o client.Object) bool {
		return slices.ContainsFunc(env.eventsOf(o), func(e string) bool { return strings.HasPrefix(e, "Warning ") })
	}
	time.Sleep(time.Second) // events come a little later
	for _, o := range []client.Object{c, web, user, api, acme, env.server, forgotten} {
		if warned(o) {
			t.Errorf("%T: %q", o, env.eventsOf(o))
		}
	}
	for deadline := time.Now().Add(newFor + 10*time.Second); !warned(forgotten) && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
	}
	if !warned(forgotten) {
		t.Error("nothing warns of a scope that is still not declared")
	}
}
