//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
)

const tenant = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: tenant, namespace: apps}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant, namespace: apps}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{kind: ServiceAccount, name: tenant, namespace: apps}]
`

// rightsOf lists what a ServiceAccount may do in a namespace, but for what every authenticated user may: to review its own rights and to
// read what the API server says of itself.
func rightsOf(t testing.TB, account, namespace string) []string {
	t.Helper()
	var rights []string
	for line := range strings.Lines(kubectl(t, "auth", "can-i", "--list", "--no-headers", "--as="+account, "-n", namespace)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "selfsubject") || strings.HasPrefix(fields[0], "[/") {
			continue
		}
		rights = append(rights, strings.TrimSpace(line))
	}
	return rights
}

// isForbidden fails the test unless the API server forbids the account what kubectl is to do.
func isForbidden(t testing.TB, account string, args ...string) {
	t.Helper()
	out, err := runKubectl(context.Background(), append(args, "--as="+account)...)
	if err == nil || !strings.Contains(err.Error(), "orbidden") {
		t.Errorf("%s may %s: %s %v", account, strings.Join(args, " "), out, err)
	}
}

func TestATenantWithTheRoleEditReadsNothingOfTheServersNamespace(t *testing.T) {
	readyServer(t)
	applyText(t, tenant)
	account := "system:serviceaccount:apps:tenant"
	if rights := rightsOf(t, account, serverNamespace); len(rights) > 0 {
		t.Errorf("in the server's namespace the tenant may\n%s", strings.Join(rights, "\n"))
	}
	for _, resource := range []string{
		"secrets", "configmaps", "pods", "authorizationservers", "oauthusers", "identityproviders", "oauthidentities", "oauthgrants", "oauthconsents",
		"entries.internal.oauth-operator.dev", "replicas.internal.oauth-operator.dev", "marks.internal.oauth-operator.dev", "usages.internal.oauth-operator.dev",
	} {
		isForbidden(t, account, "get", resource, "-n", serverNamespace)
	}
	for _, resource := range []string{"entries.internal.oauth-operator.dev", "oauthusers", "oauthgrants"} {
		isForbidden(t, account, "get", resource, "-n", clientsNamespace)
	}
	// What it is for: its own clients.
	kubectl(t, "get", "oauthclients", "-n", clientsNamespace, "--as="+account)
}

func TestTheTokenServerReadsNoSecretAndNothingOutsideItsNamespace(t *testing.T) {
	readyServer(t)
	account := "system:serviceaccount:identity:" + tokenServerName
	for _, namespace := range []string{clientsNamespace, systemNamespace, "default", "kube-system"} {
		if rights := rightsOf(t, account, namespace); len(rights) > 0 {
			t.Errorf("in the namespace %s the token server may\n%s", namespace, strings.Join(rights, "\n"))
		}
	}
	for _, right := range rightsOf(t, account, serverNamespace) {
		if strings.HasPrefix(right, "secrets") || strings.HasPrefix(right, "*") {
			t.Errorf("in its namespace the token server may %s", right)
		}
	}
	isForbidden(t, account, "get", "secrets", "-n", serverNamespace)
	isForbidden(t, account, "get", "secret", tokenServerName+"-keys", "-n", serverNamespace)
	isForbidden(t, account, "get", "secrets", "-A")
	isForbidden(t, account, "get", "oauthclients", "-A")
	isForbidden(t, account, "get", "entries.internal.oauth-operator.dev", "-n", clientsNamespace)
	isForbidden(t, account, "get", "namespaces")
	isForbidden(t, account, "get", "authorizationservers", "-n", serverNamespace)
	isForbidden(t, account, "create", "token", tokenServerName, "-n", serverNamespace)
}
