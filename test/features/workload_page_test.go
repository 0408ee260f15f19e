package features

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// blocks returns the blocks of a language in docs/workload-identity.md, with other words in them.
func blocks(t *testing.T, language string, replace *strings.Replacer) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/workload-identity.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, part := range strings.Split(string(page), "```"+language+"\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		found = append(found, replace.Replace(block))
	}
	if len(found) == 0 {
		t.Fatalf("the page has no %s", language)
	}
	return found
}

func TestThePageOnWorkloadIdentityHasManifestsAndProgramsThatWork(t *testing.T) {
	env := testenv.New(t, withCluster)
	tokenFile := filepath.Join(t.TempDir(), "token")
	var authorization string
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { authorization = r.Header.Get("Authorization") }))
	defer api.Close()
	replace := strings.NewReplacer(
		"https://auth.example.com", env.Issuer, "namespace: identity", "namespace: "+env.ServerNamespace, "namespace: shop", "namespace: "+env.AppNamespace,
		"/var/run/secrets/oauth/token", tokenFile, "https://orders.example.com/orders", api.URL,
	)
	manifests := blocks(t, "yaml", replace)
	var pod corev1.Pod
	var billing v1alpha1.OAuthClient
	for i, manifest := range manifests {
		objects, err := controlplane.Decode([]byte(manifest))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			if i == 0 { // the server is there, under another port
				continue
			}
			switch o.GetKind() {
			case "Pod":
				err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &pod)
			case "OAuthClient":
				if o.GetName() == "billing" {
					err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &billing)
				}
			case "AuthorizationServer": // nothing runs it
				err = o.UnmarshalJSON(bytes.Replace(encode(t, o.Object), []byte(`"spec":{`), []byte(`"spec":{"deployment":{"type":"External"},`), 1))
			}
			if err != nil {
				t.Fatal(err)
			}
			env.Create(o)
		}
	}
	env.WaitFor("the client of the page to be Ready", &billing, func() bool { return testenv.IsTrue(billing.Status.Conditions, v1alpha1.ConditionReady) })

	// What a kubelet would put into the Pod's volume.
	projected := pod.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = pod.Namespace, pod.Spec.ServiceAccountName
	token := accountToken(env, account, time.Duration(*projected.ExpirationSeconds)*time.Second, projected.Audience)
	if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(want string, name string, args ...string) {
		t.Helper()
		path, err := exec.LookPath(name)
		if err != nil {
			t.Logf("there is no %s", name)
			return
		}
		output, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
		if err != nil || !strings.Contains(string(output), want) {
			t.Errorf("%s: %v, %s", name, err, output)
		}
	}
	run(`"access_token":"`, "sh", "-c", blocks(t, "sh", replace)[0])
	run("...", "python3", "-c", blocks(t, "python", replace)[0])
	program := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(program, []byte(blocks(t, "go", replace)[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	run("200 OK", "go", "run", program)
	if !strings.HasPrefix(authorization, "Bearer ey") {
		t.Errorf("the API was asked with %q", authorization)
	}
}

func encode(t *testing.T, object map[string]any) []byte {
	t.Helper()
	content, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
