package controllers

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
)

func TestTheCABundleOfAServerIsReadFromItsConfigMap(t *testing.T) {
	env := newEnv(t)
	bundle := jwkstest.NewServer(t).CABundle()
	served := func() documents.Fetch {
		doc, err := decodeEntry[documents.Server](env.entry(internalv1alpha1.SpaceIdentity, env.server.Spec.Issuer))
		if err != nil {
			t.Fatal(err)
		}
		if doc.Fetch == nil {
			return documents.Fetch{}
		}
		return *doc.Fetch
	}
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Fetch = &v1alpha1.FetchSettings{CABundle: &v1alpha1.CABundle{ConfigMapRef: v1alpha1.ConfigMapKeyReference{Name: "ca", Key: "ca.crt"}}}
	})
	wait := func(status metav1.ConditionStatus, reason, want string) {
		t.Helper()
		eventually.True(t, "the message says "+want, func() bool {
			return strings.Contains(env.waitForCondition(env.server, v1alpha1.ConditionResolvedRefs, status, reason), want)
		})
	}
	wait(metav1.ConditionFalse, v1alpha1.ReasonConfigMapNotFound, `there is no ConfigMap "ca"`)
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "ca"}, Data: map[string]string{"other": "x"}}
	create(t, configMap)
	wait(metav1.ConditionFalse, v1alpha1.ReasonConfigMapNotFound, `has no key "ca.crt"`)
	updateObject(env, configMap, func(c *corev1.ConfigMap) { c.Data["ca.crt"] = bundle })
	wait(metav1.ConditionTrue, v1alpha1.ReasonResolvedRefs, "")
	if served().CABundle != bundle {
		t.Errorf("served is %+v", served())
	}
	for value, want := range map[string]string{
		"hello": "has no certificate", bundle + string(jwkstest.NewSigner("ES256", "").PEM()): "no certificate: remove it",
		strings.Repeat(" ", 300<<10) + bundle: "is larger than",
	} {
		updateObject(env, configMap, func(c *corev1.ConfigMap) { c.Data["ca.crt"] = value })
		wait(metav1.ConditionFalse, v1alpha1.ReasonInvalid, want)
		if served().CABundle != bundle {
			t.Errorf("after %.20q served is %.40q", value, served().CABundle)
		}
	}
	env.deleteObject(configMap)
	wait(metav1.ConditionFalse, v1alpha1.ReasonConfigMapNotFound, `there is no ConfigMap "ca"`)
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.Fetch = nil })
	eventually.True(t, "it is not served any more", func() bool { return served().CABundle == "" })

	create(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "of-a-client", Labels: map[string]string{workload.ManagedByLabel: workload.ManagedBy}},
		Data:       map[string]string{"ca.crt": bundle},
	})
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Fetch = &v1alpha1.FetchSettings{CABundle: &v1alpha1.CABundle{ConfigMapRef: v1alpha1.ConfigMapKeyReference{Name: "of-a-client", Key: "ca.crt"}}}
	})
	wait(metav1.ConditionFalse, v1alpha1.ReasonInvalid, "is written by the operator")
}
