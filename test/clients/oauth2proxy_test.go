package clients

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/process"
	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// buildProxy builds oauth2-proxy from its module.
func buildProxy(t *testing.T, dir string) string {
	t.Helper()
	program := filepath.Join(dir, "oauth2-proxy")
	command := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, "github.com/oauth2-proxy/oauth2-proxy/v7")
	command.Dir = filepath.Join("..", "..", "hack", "tools", "oauth2-proxy")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("building oauth2-proxy: %v\n%s", err, output)
	}
	return program
}

// recipeOfProxy creates the client of the recipe in the app team's namespace, with another address
// of the proxy.
func recipeOfProxy(env *testenv.Env, base string) *v1alpha1.OAuthClient {
	t := env.T.(*testing.T)
	page := strings.ReplaceAll(recipesPage(t), "https://shop.example.com/", base+"/")
	for _, c := range typed[v1alpha1.OAuthClient](t, recipes(t, page, env.Issuer), "OAuthClient") {
		if c.Name == "proxy" {
			return env.ReadyClient("proxy", c.Spec)
		}
	}
	t.Fatal("the page has no recipe for oauth2-proxy")
	return nil
}

// startProxy runs oauth2-proxy with the settings in the client's ConfigMap. What differs from the
// recipe are addresses and paths, and that there is no TLS in front of it. secret is the file that
// a kubelet would keep.
func startProxy(env *testenv.Env, c *v1alpha1.OAuthClient, base, upstream string) (secret string) {
	t := env.T.(*testing.T)
	dir := t.TempDir()
	secret = filepath.Join(dir, "client_secret")
	writeFile(t, secret, string(env.SecretOf(c).Data["client_secret"]))
	var m corev1.ConfigMap
	if err := testenv.Kube.Get(t.Context(), client.ObjectKey{Namespace: c.Namespace, Name: c.Spec.ConfigMap.Name}, &m); err != nil {
		t.Fatal(err)
	}
	config := m.Data["oauth2-proxy.cfg"]
	for recipe, here := range map[string]string{
		"/etc/oauth2-proxy/secret/client_secret": secret, "0.0.0.0:4180": strings.TrimPrefix(base, "http://"), "http://shop:8080/": upstream,
	} {
		if !strings.Contains(config, recipe) {
			t.Fatalf("the recipe does not say %s", recipe)
		}
		config = strings.ReplaceAll(config, recipe, here)
	}
	file := filepath.Join(dir, "oauth2-proxy.cfg")
	writeFile(t, file, config)
	p, err := process.Start(process.Command{
		Path: buildProxy(t, dir), Args: []string{"--config=" + file}, Output: t.Output(),
		Env: []string{"OAUTH2_PROXY_COOKIE_SECRET=0123456789abcdef0123456789abcdef", "OAUTH2_PROXY_COOKIE_SECURE=false"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(5 * time.Second) })
	env.Eventually("oauth2-proxy", 20*time.Second, func() (bool, string) {
		response, err := http.Get(base + "/ping")
		if err != nil {
			return false, err.Error()
		}
		return response.Body.Close() == nil && response.StatusCode == http.StatusOK, response.Status
	})
	return secret
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOAuth2ProxySignsAUserInByTheRecipeAndReadsARotatedSecret(t *testing.T) {
	env := testenv.New(t)
	upstream := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, "the shop of %s", r.Header.Get("X-Forwarded-Email"))
	}))
	t.Cleanup(upstream.Close)
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	c := recipeOfProxy(env, base)
	file := startProxy(env, c, base, upstream.URL+"/")
	signIn := func() string {
		t.Helper()
		page, err := browser.New(env.HTTP.Transport, "").SignIn(t.Context(), base+"/", testenv.Username, testenv.Password)
		if err != nil {
			t.Fatal(err)
		}
		return page.Body
	}
	const want = "the shop of " + testenv.Email
	if got := signIn(); got != want {
		t.Fatalf("she sees %q", got)
	}
	// The value is replaced, and the one before is refused at once.
	old := string(env.SecretOf(c).Data["client_secret"])
	env.Update(c, func() { c.Spec.Secret.RevokedCredentials = []string{c.Status.Credentials[0].ID} })
	env.WaitFor("another secret", c, func() bool {
		return string(env.SecretOf(c).Data["client_secret"]) != old && testenv.IsTrue(c.Status.Conditions, v1alpha1.ConditionReady)
	})
	env.Eventually("the end of the former secret", 10*time.Second, func() (bool, string) { return signIn() != want, "it is still accepted" })
	writeFile(t, file, string(env.SecretOf(c).Data["client_secret"]))
	if got := signIn(); got != want {
		t.Errorf("after the rotation she sees %q", got)
	}
}
