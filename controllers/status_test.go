package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// A pass that began before an object was deleted and created again must not say of the new one what
// it found out about the former.
func TestAStatusIsNotWrittenToTheNextObjectOfTheName(t *testing.T) {
	manager := clientOf(t, managerConfig)
	op := newOperator(manager, manager, newRecorder(t), Options{Now: time.Now})
	first := &v1alpha1.OAuthClient{
		ObjectMeta: metav1.ObjectMeta{Namespace: newNamespace(t), Name: "again"},
		Spec: v1alpha1.OAuthClientSpec{
			ServerRef: v1alpha1.ServerReference{Name: "main"}, GrantTypes: []v1alpha1.GrantType{"client_credentials"},
			TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic,
		},
	}
	second := first.DeepCopy()
	create(t, first)
	write := func() {
		t.Helper()
		if err := op.replaceStatus(t.Context(), first.DeepCopy(), nil, v1alpha1.OAuthClientStatus{ClientID: "former"}); err != nil {
			t.Error(err)
		}
	}
	env := &testEnv{t: t}
	now := first.DeepCopy()
	write()
	if env.get(now); now.Status.ClientID != "former" {
		t.Error("the status was not written")
	}
	env.deleteObject(first.DeepCopy())
	write() // the object does not exist
	create(t, second)
	write()
	if env.get(now); now.UID != second.UID || now.Status.ClientID != "" {
		t.Errorf("the new object says %+v", now.Status)
	}
	if err := op.replaceStatus(t.Context(), second, nil, v1alpha1.OAuthClientStatus{ObservedGeneration: -1}); err == nil {
		t.Error("a status that the API server refuses is no error")
	}
	env.deleteObject(second)
}
