//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// managerLabels are on the Pods of the manager.
var managerLabels = client.MatchingLabels{"app.kubernetes.io/name": "oauth-operator", "app.kubernetes.io/component": "manager"}

// leader is the name of the Pod of the manager that leads.
func leader(t testing.TB) string {
	t.Helper()
	var lease coordinationv1.Lease
	if err := kube.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: managerName}, &lease); err != nil {
		t.Fatal(err)
	}
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	name, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	return name
}

func TestTheKustomizationRunsTwoManagersOfWhichOneLeads(t *testing.T) {
	reportFailure(t)
	// A lease of managers that are gone is good for some seconds.
	eventually(t, "two managers run, and one of them leads", time.Minute, func() error {
		var names []string
		for _, p := range runningPods(t, systemNamespace, managerLabels) {
			names = append(names, p.Name)
		}
		if leads := leader(t); len(names) != 2 || !slices.Contains(names, leads) {
			return fmt.Errorf("the managers are %q, and %q leads", names, leads)
		}
		return nil
	})
}

func TestTheSamplesAreReady(t *testing.T) {
	reportFailure(t)
	kubectl(t, "apply", "-k", "../../config/samples")
	atEnd(t, "delete", "--wait=false", "-k", "../../config/samples")
	waitForCondition(t, &v1alpha1.AuthorizationServer{ObjectMeta: named("demo", "demo")}, v1alpha1.ConditionReady, 2*time.Minute)
	var clients v1alpha1.OAuthClientList
	if err := kube.List(t.Context(), &clients, client.InNamespace("demo-apps")); err != nil {
		t.Fatal(err)
	}
	for i := range clients.Items {
		waitForCondition(t, &clients.Items[i], v1alpha1.ConditionReady, time.Minute)
	}
	if len(clients.Items) == 0 {
		t.Error("there are no clients")
	}
	// The issuer is a loopback address, for `make run`: in a Pod the Service's name leads to the server.
	a := askForToken(t, "demo-apps", "service-oauth", "--endpoint=http://demo-tokenserver.demo.svc/token", "--connect-within=10s")
	if a.Status != 200 || claimsOf(t, a.AccessToken)["client_id"] != "demo-apps.service" {
		t.Errorf("the answer is %+v", a)
	}
}
