package controllers

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// Whatever write a manager is stopped after, the Secrets that can be mounted hold values that
// authenticate, and the next manager finishes what the first has begun.
func TestWhereverTheManagerStopsASecretThatCanBeMountedAuthenticates(t *testing.T) {
	made := recordWrites(t)
	env, stop := newEnvWithStop(t)
	env.newSecret(env.apps, "source", map[string]string{"value": strongSecret})
	for _, begin := range []string{"new", "deleted Secret", "renamed target", "adopted Secret", "another source", "raised revision"} {
		for n := range 6 {
			what := begin + " " + strconv.Itoa(n)
			var c *v1alpha1.OAuthClient
			name := named("client-" + strings.ReplaceAll(strings.ToLower(what), " ", "-"))
			if begin != "new" && begin != "adopted Secret" {
				c = env.readyClient(name)
			}
			stop()
			switch begin {
			case "new":
				c = env.newClient(name)
			case "deleted Secret":
				env.deleteObject(env.secretOf(c))
			case "renamed target":
				updateObject(env, c, withTarget("renamed-"+strconv.Itoa(n)))
			case "raised revision":
				updateObject(env, c, func(c *v1alpha1.OAuthClient) {
					c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate, Rotation: &v1alpha1.SecretRotation{Revision: 1}}
				})
			case "another source":
				updateObject(env, c, withFromSecret("source", "value"))
			case "adopted Secret":
				c = env.newClient(name)
				env.newSecret(env.apps, c.Name+"-oauth", map[string]string{"client_secret": strongSecret}, func(s *corev1.Secret) {
					s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: c.Name}
				})
			}
			made.limit(n)
			_, stop = runManager(t)
			eventually.True(t, "the manager has written "+strconv.Itoa(n)+" times, or has no more to write", func() bool {
				env.get(c)
				return made.hasRefused() || hasCondition(c.Status.Conditions, v1alpha1.ConditionReady, metav1.ConditionTrue, c.Generation)
			})
			stop()
			env.mountedSecrets(what, c)
			made.limit(-1)
			_, stop = runManager(t)
			env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			eventually.True(t, "one credential is Active, that which the Secret holds, and all others retire", func() bool {
				credentials := env.document(c).Credentials
				values := env.mountedSecrets(what, c)
				if begin == "another source" {
					values = []string{strongSecret}
				}
				others := slices.ContainsFunc(credentials[min(1, len(credentials)):], func(c documents.Credential) bool { return c.State != documents.CredentialRetiring })
				if begin == "raised revision" && len(credentials) != 2 {
					return false // it is neither forgotten nor acted on twice
				}
				most := 2
				if begin == "deleted Secret" {
					most = 3 // it is not known whether the value that was Pending was in the Secret before it was deleted
				}
				return len(values) > 0 && !others && env.stateOf(c, values[0]) == documents.CredentialActive && len(credentials) <= most
			})
		}
	}
	stop()
}

// mountedSecrets returns the values of the client's Secrets that nothing has superseded. It fails the test if the value in the
// target of the spec does not authenticate; Pods that mount another Secret are to be replaced.
func (env *testEnv) mountedSecrets(when string, c *v1alpha1.OAuthClient) (values []string) {
	env.t.Helper()
	var secrets corev1.SecretList
	if err := admin.List(env.t.Context(), &secrets, client.InNamespace(env.apps)); err != nil {
		env.t.Fatal(err)
	}
	for _, s := range secrets.Items {
		owner, value := compile.OAuthClientOf(&s), string(s.Data["client_secret"])
		if owner == nil || owner.UID != c.UID || value == "" || s.Annotations[supersededAnnotation] != "" {
			continue
		}
		values = append(values, value)
		if target := compile.SecretTarget(c); target != nil && target.Name == s.Name && !env.isCredential(c, value) {
			env.t.Errorf("%s: Secret %s holds a value that is refused", when, s.Name)
		}
	}
	return values
}
