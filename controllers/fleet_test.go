package controllers

import (
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// clientWrites is how many writes a new client takes: the dry run, the Secret, two of the Entry, and
// the status.
const clientWrites = 5

func TestHoweverManyClientsAreAppliedAtOnceEachTakesTheSameWritesAndIsReady(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	env.readyClient() // which has the Entry of the namespace written: each of ten at once would try to
	made.waitUntilQuiet(t)
	for _, count := range []int{10, 2000} {
		clients := make([]*v1alpha1.OAuthClient, count)
		var all sync.WaitGroup
		for worker := range 10 {
			all.Go(func() {
				for i := worker; i < count; i += 10 {
					clients[i] = env.newClient(named(fmt.Sprintf("fleet-%d-%d", count, i)))
				}
			})
		}
		all.Wait()
		for _, c := range clients {
			eventually.Within(t, 2*time.Minute, c.Name+" is Ready", func() (bool, string) {
				env.get(c)
				return hasCondition(c.Status.Conditions, v1alpha1.ConditionReady, metav1.ConditionTrue, c.Generation), ""
			})
		}
		time.Sleep(countDelay)
		writes := len(made.matching("/secrets")) + len(made.matching("/entries")) + len(made.matching("/oauthclients"))
		if writes > clientWrites*count+count/5+1 { // passes whose cache was behind for long
			t.Errorf("%d clients took %d writes", count, writes)
		}
		t.Logf("%d clients took %d writes of Secrets, Entries and statuses", count, writes)
		made.waitUntilQuiet(t)
	}
}

// Tools of GitOps and people label Secrets; that is no edit of the value.
func TestAFieldThatAnotherManagerAppliesToTheSecretIsNotFoughtOver(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	c := env.readyClient()
	value := env.clientSecretOf(c)
	made.waitUntilQuiet(t)
	apply := func() {
		t.Helper()
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
		u.SetNamespace(c.Namespace)
		u.SetName(c.Name + "-oauth")
		u.SetLabels(map[string]string{"example.com/backup": "daily"})
		u.SetAnnotations(map[string]string{"example.com/owner": "shop"})
		if err := admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("argocd-controller")); err != nil {
			t.Fatal(err) // a conflict, if both had a field
		}
	}
	isLabelled := func() bool {
		s := env.secretOf(c)
		return s.Labels["example.com/backup"] == "daily" && s.Annotations["example.com/owner"] == "shop"
	}
	for range 3 {
		apply()
	}
	// The Secret is written for the new version, and once more, without effect, by a pass that still
	// sees the Entry of before.
	made.checkUntilQuiet(t, 8, "after three applies of the same")
	if !isLabelled() || env.clientSecretOf(c) != value || env.stateOf(c, value) != documents.CredentialActive || len(env.document(c).Credentials) != 1 {
		t.Errorf("labels %v, or the value was replaced", env.secretOf(c).Labels)
	}
	updateObject(env, c, func(c *v1alpha1.OAuthClient) {
		c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate, Rotation: &v1alpha1.SecretRotation{Revision: 1}}
	})
	eventually.True(t, "the secret is replaced", func() bool { return env.clientSecretOf(c) != value })
	apply()
	made.waitUntilQuiet(t)
	if !isLabelled() || len(env.document(c).Credentials) != 2 {
		t.Errorf("labels %v, %d credentials", env.secretOf(c).Labels, len(env.document(c).Credentials))
	}
}
