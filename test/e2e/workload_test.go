//go:build e2e

package e2e

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// withoutSecret is a client that a ServiceAccount is.
const withoutSecret = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: billing, namespace: apps}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: other, namespace: apps}
---
apiVersion: oauth-operator.dev/v1alpha1
kind: OAuthClient
metadata: {name: billing, namespace: apps}
spec:
  serverRef: {name: main, namespace: identity}
  grantTypes: [client_credentials]
  tokenEndpointAuthMethod: WorkloadIdentity
  workloadIdentities:
  - serviceAccount: {name: billing}
`

func TestAPodWithoutASecretGetsATokenByItsServiceAccount(t *testing.T) {
	server := readyServer(t)
	applyText(t, withoutSecret)
	atEnd(t, "delete", "-n", clientsNamespace, "oauthclient/billing", "serviceaccount/billing", "serviceaccount/other")
	waitForCondition(t, &v1alpha1.OAuthClient{ObjectMeta: named(clientsNamespace, "billing")}, v1alpha1.ConditionReady, time.Minute)

	a := askAsServiceAccount(t, "billing", server.Spec.Issuer)
	if a.Status != 200 {
		t.Fatalf("the answer is %+v", a)
	}
	if claims := claimsOf(t, a.AccessToken); claims["client_id"] != "apps.billing" {
		t.Errorf("the token has the claims %v", claims)
	}
	if a := askAsServiceAccount(t, "other", server.Spec.Issuer); a.Status != 401 || a.Error != "invalid_client" {
		t.Errorf("the answer for a ServiceAccount that no client lists is %+v", a)
	}
	if a := askAsServiceAccount(t, "billing", "https://elsewhere.example"); a.Status != 401 || a.Error != "invalid_client" {
		t.Errorf("the answer for a token of another audience is %+v", a)
	}
}

// askAsServiceAccount asks for a token in a Pod of a ServiceAccount, with the token that kubelet projects, and with no Secret.
func askAsServiceAccount(t testing.TB, account, audience string) answer {
	t.Helper()
	seconds := int64(3600)
	token := corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: audience, ExpirationSeconds: &seconds, Path: "token"}}
	return runClientWith(t, clientsNamespace, corev1.PodSpec{
		ServiceAccountName: account,
		Volumes: []corev1.Volume{{Name: "workload", VolumeSource: corev1.VolumeSource{
			Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{token}},
		}}},
	}, "token", "--ca=/ca/ca.crt", "--workload-token=/workload/token", "--endpoint=https://main-tokenserver.identity.svc/token")
}
