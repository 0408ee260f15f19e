//go:build e2e

package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

func TestHelmTakesOverAndItsUninstallTakesNothingFromClients(t *testing.T) {
	readyServer(t)
	t.Cleanup(func() {
		report(t)
		installVersion(t, oldVersion)
	})
	chart := filepath.Join("..", "..", "charts", "oauth-operator")
	upgrade := []string{"upgrade", "--install", "oauth-operator", chart, "-n", systemNamespace, "--take-ownership", "--force-conflicts",
		"--set", "image.tag=" + newVersion, "--wait", "--timeout", "3m"}
	underLoad(t, nothing, func() {
		runHelm(t, upgrade...)
		waitForReplicas(t, 2, newVersion)
		runHelm(t, "uninstall", "oauth-operator", "-n", systemNamespace, "--wait", "--timeout", "2m")
		time.Sleep(5 * time.Second) // what is deleted with the release has gone
		kubectl(t, "get", "-n", serverNamespace, "authorizationserver", serverName)
		kubectl(t, "get", "-n", serverNamespace, "secret", tokenServerName+"-keys")
		runHelm(t, upgrade...)
	})
	serverIsReady(t)
	waitForCondition(t, &v1alpha1.OAuthClient{ObjectMeta: named(clientsNamespace, "machine")}, v1alpha1.ConditionReady, time.Minute)
	if a := askForToken(t, clientsNamespace, "machine-oauth", "--ca=/ca/ca.crt"); a.Status != 200 {
		t.Errorf("the answer is %+v", a)
	}
	runHelm(t, "uninstall", "oauth-operator", "-n", systemNamespace, "--wait", "--timeout", "2m")
}

func runHelm(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), helm, args...).CombinedOutput(); err != nil {
		t.Fatalf("helm %v: %v: %s", args, err, out)
	}
}
