package main

import (
	"flag"
	"io"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/oauth-operator/oauth-operator/hack/local/operator"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

func TestTheFlagNamespacesHasNamesOfNamespaces(t *testing.T) {
	parse := func(value string) (namespaces, error) {
		var n namespaces
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		flags.Var(&n, "namespaces", "")
		err := flags.Parse([]string{"--namespaces", value})
		return n, err
	}
	if n, err := parse("shop,identity,shop"); err != nil || !slices.Equal(n, namespaces{"identity", "shop"}) {
		t.Errorf("%q, %v", n, err)
	}
	for _, value := range []string{"", "shop,", "Shop", "shop, identity", "*", "a.b"} {
		if n, err := parse(value); err == nil {
			t.Errorf("%q is read as %q", value, n)
		}
	}
}

func TestAManagerSaysAtStartWhichRightItLacksInWhichNamespace(t *testing.T) {
	cp := installed(t)
	clients, err := kubernetes.NewForConfig(cp.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	accounts := clients.CoreV1().ServiceAccounts("default")
	if _, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: operator.ServiceAccount}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bound", "unbound"} {
		if _, err := clients.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: operator.ServiceAccount}}
	role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "oauth-operator-manager"}
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "manager"}, RoleRef: role, Subjects: subjects}
	if _, err := clients.RbacV1().RoleBindings("bound").Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config, err := cp.ConfigFor(t.Context(), "default", operator.ServiceAccount)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(n namespaces, says string) {
		t.Helper()
		if got, err := n.accessible(t.Context(), config); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %q, %v", n, got, err)
		}
	}
	expect(namespaces{"bound"}, "oauth-operator-manager-cluster")

	role.Name = "oauth-operator-manager-cluster"
	_, err = clients.RbacV1().ClusterRoleBindings().Create(t.Context(),
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "manager"}, RoleRef: role, Subjects: subjects}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "the API server knows the bindings", func() bool {
		got, err := namespaces{"bound"}.accessible(t.Context(), config)
		return err == nil && slices.Equal(got, namespaces{"bound"})
	})
	expect(namespaces{"bound", "unbound"}, "namespace unbound")
	expect(namespaces{"none"}, "none of none exists")
	if got, err := (namespaces{"bound", "none"}).accessible(t.Context(), config); err != nil || !slices.Equal(got, namespaces{"bound"}) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := namespaces(nil).accessible(t.Context(), config); err != nil || got != nil {
		t.Errorf("all: %q, %v", got, err)
	}
}
