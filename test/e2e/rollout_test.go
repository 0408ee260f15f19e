//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

func TestAnUpgradeToAnotherImageVersionLosesNoRequest(t *testing.T) {
	readyServer(t)
	waitForReplicas(t, 2, oldVersion)
	t.Cleanup(func() { installVersion(t, oldVersion) })
	underLoad(t, nothing, func() {
		installVersion(t, newVersion)
		waitForReplicas(t, 2, newVersion)
	})
	serverIsReady(t)
}

// The same code under another version stands in for the version before; what a version adds to documents is tested by their formats.
func TestADowngradeByOneVersionLosesNoRequestAndClientsAreServedOn(t *testing.T) {
	readyServer(t)
	installVersion(t, newVersion)
	waitForReplicas(t, 2, newVersion)
	underLoad(t, nothing, func() {
		installVersion(t, oldVersion)
		waitForReplicas(t, 2, oldVersion)
	})
	serverIsReady(t)
	if a := askForToken(t, clientsNamespace, "machine-oauth", "--ca=/ca/ca.crt"); a.Status != 200 {
		t.Errorf("the answer is %+v", a)
	}
}

func TestATokenServerOneVersionBehindTheManagerServesWhatIsAppliedSince(t *testing.T) {
	readyServer(t)
	waitForReplicas(t, 2, oldVersion)
	t.Cleanup(func() { installVersion(t, oldVersion) })
	if err := install(t.Context(), newVersion, "--tokenserver-image=localhost/oauth-operator:"+oldVersion); err != nil {
		t.Fatal(err)
	}
	applyText(t, fmt.Sprintf(machine, "across-versions"))
	atEnd(t, "delete", "-n", clientsNamespace, "oauthclient", "across-versions")
	waitForCondition(t, &v1alpha1.OAuthClient{ObjectMeta: named(clientsNamespace, "across-versions")}, v1alpha1.ConditionReady, time.Minute)
	waitForReplicas(t, 2, oldVersion)
	if a := askForToken(t, clientsNamespace, "across-versions-oauth", "--ca=/ca/ca.crt"); a.Status != 200 {
		t.Errorf("the answer is %+v", a)
	}
}

func TestScalingFromTwoToFourToOneToTwoLosesNoRequest(t *testing.T) {
	readyServer(t)
	waitForReplicas(t, 2, oldVersion)
	underLoad(t, nothing, func() {
		for _, replicas := range []string{"4", "1", "2"} {
			kubectl(t, "scale", "-n", serverNamespace, "authorizationserver/"+serverName, "--replicas="+replicas)
			waitForReplicas(t, int(replicas[0]-'0'), oldVersion)
		}
	})
	serverIsReady(t)
}

func TestARolloutRestartLosesNoRequest(t *testing.T) {
	readyServer(t)
	underLoad(t, nothing, func() {
		kubectl(t, "rollout", "restart", "-n", serverNamespace, "deployment/"+tokenServerName)
		kubectl(t, "rollout", "status", "-n", serverNamespace, "deployment/"+tokenServerName, "--timeout=180s")
		waitForReplicas(t, 2, oldVersion)
	})
	serverIsReady(t)
}

func installVersion(t testing.TB, version string) {
	t.Helper()
	if err := install(context.Background(), version); err != nil {
		t.Fatal(err)
	}
}

func serverIsReady(t testing.TB) {
	t.Helper()
	waitForCondition(t, &v1alpha1.AuthorizationServer{ObjectMeta: named(serverNamespace, serverName)}, v1alpha1.ConditionReady, time.Minute)
}
