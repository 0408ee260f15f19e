package replicas

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// backUpObjects returns a function that puts the records of a namespace back, as docs/operate.md says
// to: new objects, without UIDs and owners, and their status after them.
func backUpObjects(t *testing.T, namespace string) (restore func()) {
	t.Helper()
	grants, consents, identities := &v1alpha1.OAuthGrantList{}, &v1alpha1.OAuthConsentList{}, &v1alpha1.OAuthIdentityList{}
	for _, list := range []client.ObjectList{grants, consents, identities} {
		if err := testenv.Kube.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		t.Helper()
		for _, kind := range []client.Object{&v1alpha1.OAuthGrant{}, &v1alpha1.OAuthConsent{}, &v1alpha1.OAuthIdentity{}} {
			if err := testenv.Kube.DeleteAllOf(t.Context(), kind, client.InNamespace(namespace)); err != nil {
				t.Fatal(err)
			}
		}
		for _, o := range grants.Items {
			putBack(t, &o, nil)
		}
		for _, o := range consents.Items {
			putBack(t, &o, nil)
		}
		for _, o := range identities.Items {
			saved := o.Status
			putBack(t, &o, func() { o.Status = saved })
		}
	}
}

// putBack creates an object again. setStatus puts back the status, if the kind has one.
func putBack(t *testing.T, o client.Object, setStatus func()) {
	t.Helper()
	o.SetUID("")
	o.SetResourceVersion("")
	o.SetOwnerReferences(nil)
	o.SetManagedFields(nil)
	o.SetCreationTimestamp(metav1.Time{})
	if err := testenv.Kube.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if setStatus == nil {
		return
	}
	setStatus()
	if err := testenv.Kube.Status().Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// loseStatusOfIdentities creates the OAuthIdentities of a namespace again without what the token
// server has recorded in them.
func loseStatusOfIdentities(t *testing.T, namespace string) {
	t.Helper()
	var list v1alpha1.OAuthIdentityList
	if err := testenv.Kube.List(t.Context(), &list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Items {
		if err := testenv.Kube.Delete(t.Context(), &o); err != nil {
			t.Fatal(err)
		}
		putBack(t, &o, nil)
	}
}
