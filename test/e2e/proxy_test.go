//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

const edgeServer = `
apiVersion: oauth-operator.dev/v1alpha1
kind: AuthorizationServer
metadata: {name: edge, namespace: identity}
spec:
  issuer: https://edge.identity.svc
  trustedProxies: [%s]
  allowedClients:
  - name: apps
    namespaces: {from: Selector, selector: {matchLabels: {team: apps}}}
`

// The log has the source of a request whose password was wrong.
func TestBehindNginxTheSourceIsTheClientAndOnlyTheProxySaysSo(t *testing.T) {
	readyServer(t)
	// nginx looks up its upstream once, when it starts: the Service is there first.
	applyText(t, fmt.Sprintf(edgeServer, "192.0.2.1/32"))
	waitForCondition(t, &v1alpha1.AuthorizationServer{ObjectMeta: named(serverNamespace, "edge")}, v1alpha1.ConditionReady, 2*time.Minute)
	apply(t, "proxied.yaml")
	atEnd(t, "delete", "--wait=false", "-f", "testdata/proxied.yaml")
	atEnd(t, "delete", "-n", serverNamespace, "authorizationserver", "edge")
	var nginx corev1.Pod
	eventually(t, "nginx runs", time.Minute, func() error {
		if err := kube.Get(t.Context(), client.ObjectKey{Namespace: serverNamespace, Name: "nginx"}, &nginx); err != nil {
			return err
		}
		if !podIsReady(&nginx) {
			return fmt.Errorf("its status is %+v", nginx.Status.ContainerStatuses)
		}
		return nil
	})
	applyText(t, fmt.Sprintf(edgeServer, nginx.Status.PodIP+"/32"))
	waitForCondition(t, &v1alpha1.AuthorizationServer{ObjectMeta: named(serverNamespace, "edge")}, v1alpha1.ConditionReady, time.Minute)
	waitForCondition(t, &v1alpha1.OAuthClient{ObjectMeta: named(clientsNamespace, "proxied")}, v1alpha1.ConditionReady, time.Minute)
	waitForCondition(t, &v1alpha1.OAuthUser{ObjectMeta: named(serverNamespace, "bob")}, v1alpha1.ConditionReady, time.Minute)

	login := func(password string, args ...string) answer {
		return runClient(t, clientsNamespace, "proxied-oauth", append([]string{"login", "--ca=/ca/ca.crt", "--username=bob", "--password=" + password,
			"--authorize=https://edge.identity.svc/authorize?response_type=code&client_id=apps.proxied&scope=openid&redirect_uri=https://app.example.com/callback" +
				"&code_challenge_method=S256&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, args...)...)
	}
	for what, args := range map[string][]string{
		"through the proxy":                           nil,
		"through the proxy, by a client who lies":     {"--forwarded-for=198.51.100.7"},
		"past the proxy, by a client who lies":        {"--forwarded-for=198.51.100.7", "--connect=edge-tokenserver.identity.svc:80"},
		"past the proxy, as if it came from a client": {"--connect=edge-tokenserver.identity.svc:80"},
	} {
		a := login("wrong", args...)
		if !a.IsLogin {
			t.Errorf("%s: a wrong password leads to %+v", what, a)
		}
		wanted := fmt.Sprintf(`"source":"%s/32"`, a.podIP)
		eventually(t, what+": the source in the log is the client's address "+a.podIP, 10*time.Second, func() error {
			log := kubectl(t, "logs", "-n", serverNamespace, "--tail=50", "-l", "app.kubernetes.io/name=tokenserver,app.kubernetes.io/instance=edge")
			if !strings.Contains(log, wanted) {
				return fmt.Errorf("the log is %s", log)
			}
			return nil
		})
	}
	if a := login("wonderland-e2e"); a.IsLogin || a.Status >= 400 {
		t.Errorf("the right password leads to %+v", a)
	}
}
