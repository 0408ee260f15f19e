//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

func TestAPodGetsATokenThroughTheServiceWithTheSecretThatItMounts(t *testing.T) {
	readyServer(t)
	a := askForToken(t, clientsNamespace, "machine-oauth", "--ca=/ca/ca.crt")
	if a.Status != 200 {
		t.Fatalf("the answer is %+v", a)
	}
	if claims := claimsOf(t, a.AccessToken); claims["iss"] != "https://main-tokenserver.identity.svc" || claims["client_id"] != "apps.machine" {
		t.Errorf("the token has the claims %v", claims)
	}
}

func TestAClientIsReadyAndGetsATokenSecondsAfterItIsApplied(t *testing.T) {
	readyServer(t)
	began := time.Now()
	applyText(t, fmt.Sprintf(machine, "late"))
	atEnd(t, "delete", "-n", clientsNamespace, "oauthclient", "late")
	waitForCondition(t, &v1alpha1.OAuthClient{ObjectMeta: named(clientsNamespace, "late")}, v1alpha1.ConditionReady, 15*time.Second)
	t.Logf("the client was Ready after %s", time.Since(began).Round(10*time.Millisecond))
	if a := askForToken(t, clientsNamespace, "late-oauth", "--ca=/ca/ca.crt"); a.Status != 200 {
		t.Errorf("the answer is %+v", a)
	}
}
