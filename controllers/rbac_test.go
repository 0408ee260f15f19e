package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	localoperator "github.com/oauth-operator/oauth-operator/hack/local/operator"
)

func TestTheManagerMayGrantOneRoleAndMakeNone(t *testing.T) {
	namespace := newNamespace(t)
	create(t, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}}},
	})
	manager := clientOf(t, managerConfig)
	server := &v1alpha1.AuthorizationServer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "main", UID: "1"}}
	bind := func(kind, role string) error {
		binding := workload.RoleBinding(server)
		binding.RoleRef.Kind, binding.RoleRef.Name = kind, role
		return manager.Create(t.Context(), binding, client.DryRunAll)
	}
	if err := bind("ClusterRole", workload.ClusterRole); err != nil {
		t.Errorf("the token server's role: %v", err)
	}
	// RBAC itself refuses, not only the admission policy.
	for _, role := range []string{"cluster-admin", namespace} { // what it has itself anybody may grant who may bind at all
		if err := bind("ClusterRole", role); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "attempting to grant RBAC permissions not currently held") {
			t.Errorf("ClusterRole %s: %v", role, err)
		}
	}
	for what, o := range map[string]client.Object{
		"a Role":               &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "r"}},
		"a ClusterRole":        &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "r-" + namespace}},
		"a ClusterRoleBinding": &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "b-" + namespace}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: workload.ClusterRole}},
		"a Pod":                &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}},
	} {
		if err := manager.Create(t.Context(), o); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// What is there already may be changed no more than made, and no other identity may be used.
	for _, target := range []struct{ group, resource string }{
		{rbacv1.GroupName, "roles"}, {rbacv1.GroupName, "clusterroles"}, {rbacv1.GroupName, "clusterrolebindings"},
		{"", "serviceaccounts/token"}, {"", "pods/exec"}, {"", "users"}, {"", "groups"}, {"", "nodes"}, {"certificates.k8s.io", "certificatesigningrequests"},
		{"admissionregistration.k8s.io", "mutatingwebhookconfigurations"},
		{"", "pods"}, {"", "pods/ephemeralcontainers"}, {"", "pods/log"}, {"apps", "replicasets"}, {"apps", "statefulsets"}, {"apps", "daemonsets"}, {"batch", "jobs"},
	} {
		for _, verb := range []string{"create", "update", "patch", "delete", "deletecollection", "bind", "escalate", "impersonate"} {
			for _, name := range []string{"", "cluster-admin", "admin", workload.ClusterRole} {
				review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
					ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Group: target.group, Resource: target.resource, Name: name},
				}}
				if err := manager.Create(t.Context(), review); err != nil {
					t.Fatal(err)
				}
				if wanted := target.resource == "clusterroles" && verb == "bind" && name == workload.ClusterRole; review.Status.Allowed != wanted {
					t.Errorf("%s %s %q: allowed is %v", verb, target.resource, name, review.Status.Allowed)
				}
			}
		}
	}
}

func TestATokenServerReadsItsEntriesAndNoSecret(t *testing.T) {
	server := &v1alpha1.AuthorizationServer{ObjectMeta: metav1.ObjectMeta{Namespace: newNamespace(t), Name: "main"}}
	server.Spec.Issuer = "https://" + server.Namespace + ".example.com"
	create(t, server)
	create(t, workload.ServiceAccount(server), workload.RoleBinding(server))
	user := fmt.Sprintf("system:serviceaccount:%s:%s", server.Namespace, workload.ServiceAccountName(server.Name))

	for _, c := range []struct {
		group, resource string
		verbs           []string // of all there are
	}{
		{"internal.oauth-operator.dev", "entries", []string{"list", "watch"}},
		{"internal.oauth-operator.dev", "replicas", []string{"list", "create", "patch", "delete"}},
		{"internal.oauth-operator.dev", "usages", []string{"create", "patch"}},
		{"", "secrets", nil},
		{"", "serviceaccounts/token", nil},
		{"", "configmaps", nil},
		{"rbac.authorization.k8s.io", "rolebindings", nil},
		{"oauth-operator.dev", "oauthclients", nil},
		{"oauth-operator.dev", "oauthusers", nil},
		{"oauth-operator.dev", "identityproviders", nil},
		{"oauth-operator.dev", "oauthidentities", []string{"get", "list", "watch", "create", "delete"}},
		{"oauth-operator.dev", "oauthidentities/status", []string{"update"}},
	} {
		for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "bind", "escalate", "impersonate"} {
			for namespace, own := range map[string]bool{server.Namespace: true, "default": false, "": false} {
				review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
					User: user, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + server.Namespace, "system:authenticated"},
					ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Group: c.group, Resource: c.resource},
				}}
				create(t, review)
				if wanted := own && slices.Contains(c.verbs, verb); review.Status.Allowed != wanted {
					t.Errorf("%s %s in namespace %q: allowed is %v", verb, c.resource, namespace, review.Status.Allowed)
				}
			}
		}
	}
}

func TestTheManagerHasOneLease(t *testing.T) {
	manager := clientOf(t, managerConfig)
	create(t, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: localoperator.Namespace, Name: "anothers"}})
	for name, allowed := range map[string]bool{"oauth-operator-manager": true, "anothers": false} {
		err := manager.Get(t.Context(), client.ObjectKey{Namespace: localoperator.Namespace, Name: name}, &coordinationv1.Lease{})
		if apierrors.IsForbidden(err) == allowed {
			t.Errorf("reading %s: %v", name, err)
		}
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: localoperator.Namespace, Name: name, ResourceVersion: "1"}}
		if err := manager.Update(t.Context(), lease); apierrors.IsForbidden(err) == allowed {
			t.Errorf("updating %s: %v", name, err)
		}
	}
}
