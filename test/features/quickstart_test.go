package features

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

func TestTheManifestsOfTheREADMEGetTheTokenThatItShows(t *testing.T) {
	manifest, err := os.ReadFile(filepath.Join("..", "..", "examples", "quickstart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(readme), "```yaml\n")
	shown, _, _ = strings.Cut(shown, "```")
	if !strings.HasSuffix(string(manifest), "---\n"+shown) {
		t.Error("the README does not show the manifests of examples/quickstart.yaml, but for the namespaces")
	}
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	issuer := fmt.Sprintf("http://127.0.0.1:%d", port)
	manifests := strings.ReplaceAll(string(manifest), "http://127.0.0.1:8080", issuer)
	if err := testenv.ControlPlane.Apply(t.Context(), "reader", []byte(manifests)); err != nil {
		t.Fatal(err)
	}
	e := &testenv.Env{T: t}
	server := &v1alpha1.AuthorizationServer{ObjectMeta: metav1.ObjectMeta{Namespace: "identity", Name: "main"}}
	t.Cleanup(func() { _ = testenv.Kube.Delete(context.Background(), server) })
	billing := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "billing"}}
	e.WaitFor("the client to be Ready", billing, func() bool { return testenv.IsTrue(billing.Status.Conditions, v1alpha1.ConditionReady) })
	var secret corev1.Secret
	if err := testenv.Kube.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "billing-oauth"}, &secret); err != nil {
		t.Fatal(err)
	}
	if got := string(secret.Data["token_endpoint"]); got != issuer+"/token" {
		t.Errorf("the Secret's token_endpoint is %q", got)
	}
	status, answer := requestToken(t, secret.Data)
	_, example, _ := strings.Cut(string(readme), `{"access_token":"eyJ...",`)
	example, _, _ = strings.Cut(example, "}")
	before, after, _ := strings.Cut(answer, `","`)
	if status != http.StatusOK || !strings.HasPrefix(before, `{"access_token":"eyJ`) || strings.TrimSpace(after) != strings.TrimPrefix(example, `"`)+"}" {
		t.Errorf("the response is %d %s...%s, and the README shows %s}", status, before[:min(len(before), 24)], after, example)
	}
}

// requestToken requests a token as an application does that has the Secret.
func requestToken(t *testing.T, secret map[string][]byte) (status int, body string) {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}.Encode()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, string(secret["token_endpoint"]), strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(string(secret["client_id"]), string(secret["client_secret"]))
	response, err := (&http.Client{Timeout: 30 * time.Second}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}
