package features

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// The manifests are those of the page; the port is a free one.
func TestTheInstallationPageEndsWithAToken(t *testing.T) {
	root, err := controlplane.Root()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, manifests, found := strings.Cut(string(page), "kubectl apply -f - <<EOF\n")
	manifests, _, ended := strings.Cut(manifests, "\nEOF\n")
	if !found || !ended {
		t.Fatal("the page applies no manifests")
	}
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	issuer := fmt.Sprintf("http://127.0.0.1:%d", port)
	manifests = strings.ReplaceAll(manifests, "http://127.0.0.1:8080", issuer)
	if err := testenv.ControlPlane.Apply(t.Context(), "reader", []byte(manifests)); err != nil {
		t.Fatal(err)
	}
	e := &testenv.Env{T: t, Issuer: issuer, HTTP: http.DefaultClient}
	var server v1alpha1.AuthorizationServer
	server.Namespace, server.Name = "identity", "main"
	t.Cleanup(func() { _ = testenv.Kube.Delete(context.Background(), &server) })
	e.WaitFor("the AuthorizationServer to be Ready", &server, func() bool { return testenv.IsTrue(server.Status.Conditions, v1alpha1.ConditionReady) })
	var c v1alpha1.OAuthClient
	c.Namespace, c.Name = "shop", "orders"
	e.WaitFor("the client to be Ready", &c, func() bool { return testenv.IsTrue(c.Status.Conditions, v1alpha1.ConditionReady) })
	var secret corev1.Secret
	if err := testenv.Kube.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "orders-oauth"}, &secret); err != nil {
		t.Fatal(err)
	}
	if endpoint := string(secret.Data["token_endpoint"]); endpoint != issuer+"/token" {
		t.Errorf("the token endpoint is %s", endpoint)
	}
	status, answer := e.Post("/token", e.Config(&c), url.Values{"grant_type": {"client_credentials"}})
	if status != http.StatusOK || answer["access_token"] == "" || answer["token_type"] != "Bearer" {
		t.Errorf("the answer is %d %v", status, answer)
	}
}
