package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

func TestOnlyWhatWasMadeForTheClientAndIsNotInUseIsSuperseded(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient(named("adopter"), withTarget("first"))
	made := env.secretOf(c)
	adopted := env.newSecret(env.apps, "adopted", map[string]string{"client_secret": strongSecret}, func(s *corev1.Secret) {
		s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: c.Name}
	})
	reserved := env.newSecret(env.apps, "other-tokenserver-keys", nil, func(s *corev1.Secret) {
		s.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: compile.KindClient, Name: c.Name, UID: c.UID, Controller: new(true),
		}}
	})
	for _, name := range []string{"adopted", "last"} {
		updateObject(env, c, withTarget(name))
		env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		eventually.True(t, "the client has the Secret "+name, func() bool { return env.isCredential(c, env.clientSecretOf(c)) })
	}
	eventually.True(t, "what was made for it is superseded", func() bool { return env.exists(made) && made.Annotations[supersededAnnotation] != "" })
	env.later(c, compile.Overlap(c)+time.Minute)
	eventually.True(t, "that is gone after the overlap", func() bool { return !env.exists(made) })
	for what, s := range map[string]*corev1.Secret{"adopted": adopted, "of a server's name": reserved, "in use": env.secretOf(c)} {
		if !env.exists(s) || s.Annotations[supersededAnnotation] != "" {
			t.Errorf("what is %s is superseded, or gone: %v", what, s.Annotations)
		}
	}
}
