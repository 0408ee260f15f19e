//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// What testdata/identity.yaml and testdata/apps.yaml have.
const (
	serverNamespace  = "identity"
	serverName       = "main"
	clientsNamespace = "apps"
	tokenServerName  = "main-tokenserver"
)

// tokenServerLabels are on the Pods of the token server of main.
var tokenServerLabels = client.MatchingLabels{"app.kubernetes.io/name": "tokenserver", "app.kubernetes.io/instance": serverName}

// machine is a further client of the app team.
const machine = `
apiVersion: oauth-operator.dev/v1alpha1
kind: OAuthClient
metadata: {name: %s, namespace: apps}
spec:
  serverRef: {name: main, namespace: identity}
  grantTypes: [client_credentials]
  tokenEndpointAuthMethod: client_secret_basic
`

// readyServer has main and its clients ready, and returns main. The test prints what there is if it fails.
func readyServer(t testing.TB) *v1alpha1.AuthorizationServer {
	t.Helper()
	reportFailure(t)
	apply(t, "identity.yaml")
	apply(t, "apps.yaml")
	server := &v1alpha1.AuthorizationServer{ObjectMeta: named(serverNamespace, serverName)}
	waitForCondition(t, server, v1alpha1.ConditionReady, 3*time.Minute)
	for _, name := range []string{"machine", "legacy"} {
		waitForCondition(t, &v1alpha1.OAuthClient{ObjectMeta: named(clientsNamespace, name)}, v1alpha1.ConditionReady, time.Minute)
	}
	waitForCondition(t, &v1alpha1.OAuthUser{ObjectMeta: named(serverNamespace, "alice")}, v1alpha1.ConditionReady, time.Minute)
	publishAuthority(t, clientsNamespace)
	return server
}

// publishAuthority writes the certificate of the authority into a ConfigMap of a namespace.
func publishAuthority(t testing.TB, namespace string) {
	t.Helper()
	var authority corev1.Secret
	if err := kube.Get(t.Context(), client.ObjectKey{Namespace: serverNamespace, Name: "authority"}, &authority); err != nil {
		t.Fatal(err)
	}
	bundle := &corev1.ConfigMap{ObjectMeta: named(namespace, "authority"), Data: map[string]string{"ca.crt": string(authority.Data["tls.crt"])}}
	if err := kube.Create(t.Context(), bundle); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// waitForReplicas waits until that many replicas of the token server are ready, of that version, and no other Pod of it is left.
func waitForReplicas(t testing.TB, replicas int, version string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d replicas of version %s are all that run", replicas, version), 4*time.Minute, func() error {
		var list corev1.PodList
		if err := kube.List(t.Context(), &list, client.InNamespace(serverNamespace), tokenServerLabels); err != nil {
			return err
		}
		var state []string
		ready := 0
		for _, p := range list.Items {
			isReady := podIsReady(&p) && p.DeletionTimestamp == nil && p.Spec.Containers[0].Image == "localhost/oauth-operator:"+version
			if isReady {
				ready++
			}
			state = append(state, fmt.Sprintf("%s image %s phase %s ready %t ending %t", p.Name, p.Spec.Containers[0].Image, p.Status.Phase, podIsReady(&p), p.DeletionTimestamp != nil))
		}
		if ready != replicas || len(list.Items) != replicas {
			return fmt.Errorf("the Pods are %q", state)
		}
		return nil
	})
}

func podIsReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
