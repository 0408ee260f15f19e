package controllers

import (
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

// A manager that is stopped after any of its writes leaves nothing that does not work, and the next one finishes what it began.
func TestWhereverTheManagerStopsASecretThatCanBeMountedAuthenticates(t *testing.T) {
	made := recordWrites(t)
	w, stop := newEnvWithStop(t)
	w.newSecret(w.apps, "source", map[string]string{"value": strong})
	for _, begin := range []string{"new", "deleted Secret", "renamed target", "adopted Secret", "another source"} {
		for n := range 6 {
			what := begin + " " + strconv.Itoa(n)
			var c *v1alpha1.OAuthClient
			name := named("client-" + strings.ReplaceAll(strings.ToLower(what), " ", "-"))
			if begin != "new" && begin != "adopted Secret" {
				c = w.readyClient(name)
			}
			stop()
			switch begin {
			case "new":
				c = w.newClient(name)
			case "deleted Secret":
				w.deleteObject(w.secretOf(c))
			case "renamed target":
				updateObject(w, c, targeting("renamed-"+strconv.Itoa(n)))
			case "another source":
				updateObject(w, c, reading("source", "value"))
			case "adopted Secret":
				c = w.newClient(name)
				w.newSecret(w.apps, c.Name+"-oauth", map[string]string{"client_secret": strong}, func(s *corev1.Secret) {
					s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: c.Name}
				})
			}
			made.limit(n)
			_, stop = runManager(t)
			eventually.True(t, "the manager has written "+strconv.Itoa(n)+" times, or has no more to write", func() bool {
				w.get(c)
				return made.hasRefused() || conditionIs(c.Status.Conditions, v1alpha1.ConditionReady, metav1.ConditionTrue, c.Generation)
			})
			stop()
			w.mountable(what, c)
			made.limit(-1)
			_, stop = runManager(t)
			w.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			eventually.True(t, "there is one credential, and it is what the Secret holds", func() bool {
				credentials := w.document(c).Credentials
				values := w.mountable(what, c)
				if begin == "another source" {
					values = append(values, strong) // and no other
				}
				return len(values) == 1 && len(credentials) == 1 && credentials[0].State == documents.CredentialActive && w.isCredential(c, values[0])
			})
		}
	}
	stop()
}

// mountable are the values of the client's Secrets. It fails the test if one is refused that the client's Pods may mount now: while its Secret is
// not any more what the spec says, Pods are on their way to another.
func (w *testEnv) mountable(when string, c *v1alpha1.OAuthClient) (values []string) {
	w.t.Helper()
	var secrets corev1.SecretList
	if err := admin.List(w.t.Context(), &secrets, client.InNamespace(w.apps)); err != nil {
		w.t.Fatal(err)
	}
	for _, s := range secrets.Items {
		owner, value := oauthClientOf(&s), string(s.Data["client_secret"])
		if owner == nil || owner.UID != c.UID || value == "" {
			continue
		}
		values = append(values, value)
		if target := compile.SecretTarget(c); target != nil && target.Name == s.Name && !w.isCredential(c, value) {
			w.t.Errorf("%s: Secret %s holds a value that is refused", when, s.Name)
		}
	}
	return values
}
