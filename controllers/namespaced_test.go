package controllers

import (
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	localoperator "github.com/oauth-operator/oauth-operator/hack/local/operator"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

// newNamespacedEnv is newEnv with a manager whose ServiceAccount has the ClusterRole of managers in
// the two namespaces of the test only.
func newNamespacedEnv(t *testing.T) *testEnv {
	t.Helper()
	env := newEnvWithoutManager(t)
	home := newNamespace(t)
	create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: localoperator.ServiceAccount}})
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: home, Name: localoperator.ServiceAccount}}
	roleRef := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "oauth-operator-manager"}
	for _, namespace := range []string{env.identity, env.apps} {
		create(t, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "manager"}, RoleRef: roleRef, Subjects: subjects})
	}
	roleRef.Name = "oauth-operator-manager-cluster"
	cluster := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: home}, RoleRef: roleRef, Subjects: subjects}
	create(t, cluster)
	t.Cleanup(func() { _ = admin.Delete(t.Context(), cluster) })

	everywhere := managerConfig
	t.Cleanup(func() { managerConfig = everywhere })
	var err error
	if managerConfig, err = plane.ConfigFor(t.Context(), home, localoperator.ServiceAccount); err != nil {
		t.Fatal(err)
	}
	env.manager = startManager(t, env.clock.set, func(o *Options) { o.Namespaces = []string{env.identity, env.apps} })
	env.startServer()
	return env
}

func TestAManagerOfSomeNamespacesWorksThereWithRoleBindingsAlone(t *testing.T) {
	w := newNamespacedEnv(t)
	c := w.readyClient()
	w.secretOf(c)

	outside := newNamespace(t, map[string]string{"apps-of": w.identity})
	manager := clientOf(t, managerConfig)
	for _, resource := range []schema.GroupResource{
		{Resource: "secrets"}, {Resource: "configmaps"}, {Resource: "serviceaccounts"}, {Resource: "services"}, {Group: "apps", Resource: "deployments"},
		{Group: rbacv1.GroupName, Resource: "rolebindings"}, {Group: v1alpha1.GroupVersion.Group, Resource: "oauthclients"},
		{Group: internalv1alpha1.GroupVersion.Group, Resource: "entries"},
	} {
		for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete"} {
			for _, namespace := range []string{outside, "kube-system", ""} {
				review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: namespace, Verb: verb, Group: resource.Group, Resource: resource.Resource,
				}}}
				if err := manager.Create(t.Context(), review); err != nil || review.Status.Allowed {
					t.Errorf("the manager may %s %s in namespace %q (%v)", verb, resource, namespace, err)
				}
			}
		}
	}
	unseen := w.newClient(func(c *v1alpha1.OAuthClient) { c.Namespace = outside })
	stray := w.newClient(func(c *v1alpha1.OAuthClient) { c.Spec.ServerRef.Namespace = outside })
	message := w.waitForCondition(stray, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonServerNotFound)
	if !strings.Contains(message, "--namespaces") || !strings.Contains(message, outside) {
		t.Errorf("a client of a server elsewhere is told %q", message)
	}
	api := w.newAPI("https://orders.example.com")
	updateObject(w, api, func(api *v1alpha1.ResourceServer) {
		api.Spec.IntrospectionClients = []v1alpha1.ClientReference{{Namespace: outside, Name: unseen.Name}}
	})
	w.waitForCondition(api, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	w.get(unseen)
	for _, c := range unseen.Status.Conditions {
		if c.Reason != v1alpha1.ReasonPending {
			t.Errorf("a client outside has the condition %+v", c)
		}
	}

	// Rules select by the labels of namespaces.
	var namespace corev1.Namespace
	if err := admin.Get(t.Context(), client.ObjectKey{Name: w.apps}, &namespace); err != nil {
		t.Fatal(err)
	}
	delete(namespace.Labels, "apps-of")
	if err := admin.Update(t.Context(), &namespace); err != nil {
		t.Fatal(err)
	}
	w.waitForCondition(c, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNotAllowedByServer)
}

func TestAClientEndsWithItsNamespaceThoughTheRightToLookForItEndsToo(t *testing.T) {
	w := newNamespacedEnv(t)
	c := w.readyClient()

	w.deleteObject(&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: "manager"}})
	w.deleteObject(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.apps}})
	eventually.True(t, "the client's Entry is gone", func() bool {
		var entries internalv1alpha1.EntryList
		if err := admin.List(t.Context(), &entries, client.InNamespace(w.identity)); err != nil {
			t.Fatal(err)
		}
		for _, e := range entries.Items {
			if e.Spec.Owner.UID == c.UID {
				return false
			}
		}
		return true
	})
}

func TestAnOwnerThatCannotBeLookedForWhileItsNamespaceLivesIsNotGone(t *testing.T) {
	w := newNamespacedEnv(t)
	c := w.readyClient()
	w.deleteObject(&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: "manager"}})

	op := newOperator(nil, w.manager.GetAPIReader(), nil, Options{Now: time.Now, Namespaces: []string{w.identity, w.apps}})
	owner := internalv1alpha1.Owner{Kind: compile.KindClient, Namespace: w.apps, Name: c.Name, UID: c.UID}
	eventually.True(t, "the right is withdrawn", func() bool {
		gone, err := op.entries.IsOwnerGone(t.Context(), owner)
		if gone {
			t.Fatal("the client counts as gone")
		}
		return err != nil
	})
	owner.Namespace = "elsewhere"
	if gone, err := op.entries.IsOwnerGone(t.Context(), owner); gone || err != nil {
		t.Errorf("in a namespace that is not watched: gone is %v, %v", gone, err)
	}
}
