package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// recipesIssuer is the issuer in docs/recipes.md.
const recipesIssuer = "https://auth.example.com"

func recipesPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "recipes.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// recipes returns the objects of docs/recipes.md, with another issuer.
func recipes(t *testing.T, page, issuer string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for rest := page; ; {
		_, after, found := strings.Cut(rest, "```yaml\n")
		if !found {
			return all
		}
		var manifest string
		manifest, rest, _ = strings.Cut(after, "```")
		objects, err := controlplane.Decode([]byte(strings.ReplaceAll(manifest, recipesIssuer, issuer)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, objects...)
	}
}

// typed converts the objects of a kind.
func typed[T any](t *testing.T, objects []*unstructured.Unstructured, kind string) []*T {
	t.Helper()
	var found []*T
	for _, o := range objects {
		if o.GetKind() == kind {
			content, err := json.Marshal(o.Object)
			object := new(T)
			if err == nil {
				err = json.Unmarshal(content, object)
			}
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, object)
		}
	}
	if len(found) == 0 {
		t.Fatalf("the page has no %s", kind)
	}
	return found
}

// applyRecipes applies the recipes to a server that is as they say, and waits until all clients are
// Ready. What is of kinds that the API server does not have is not applied.
func applyRecipes(t *testing.T, e *testenv.Env, page string) []*unstructured.Unstructured {
	t.Helper()
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	e.Issuer = fmt.Sprintf("http://127.0.0.1:%d", port)
	for _, name := range []string{"identity", "shop", "argocd", "monitoring", "storage"} {
		e.Create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	server := &v1alpha1.AuthorizationServer{ObjectMeta: metav1.ObjectMeta{Namespace: "identity", Name: "main"}}
	server.Spec.Issuer = e.Issuer
	server.Spec.AllowedClients = []v1alpha1.ClientRule{{Name: "all", Namespaces: &v1alpha1.RuleNamespaces{From: v1alpha1.NamespacesAll}}}
	e.Create(server)
	t.Cleanup(func() { _ = testenv.Kube.Delete(context.Background(), server) })
	objects := recipes(t, page, e.Issuer)
	for _, o := range objects {
		if slices.Contains([]string{"SecurityPolicy", "AuthenticationConfiguration"}, o.GetKind()) {
			continue
		}
		content, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		if err := testenv.ControlPlane.Apply(t.Context(), "reader", content); err != nil {
			t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
	for _, c := range typed[v1alpha1.OAuthClient](t, objects, "OAuthClient") {
		e.WaitFor("the client "+c.Name+" to be Ready", c, func() bool { return testenv.IsTrue(c.Status.Conditions, v1alpha1.ConditionReady) })
	}
	return objects
}

func TestEachRecipeIsAdmittedAndReadyAndNamesWhatIsThere(t *testing.T) {
	e, page := &testenv.Env{T: t}, recipesPage(t)
	objects := applyRecipes(t, e, page)
	for _, d := range typed[appsv1.Deployment](t, objects, "Deployment") {
		for _, needed := range keysOf(d) {
			checkKey(t, page, d.Namespace, needed)
		}
	}
	grafana := secret(t, "monitoring", "grafana-oauth")
	for key, want := range map[string]string{
		"CLIENT_ID": "monitoring.grafana", "AUTH_URL": e.Issuer + "/authorize", "TOKEN_URL": e.Issuer + "/token", "API_URL": e.Issuer + "/userinfo",
		"SCOPES": "openid profile email groups", "CLIENT_SECRET": string(grafana["client_secret"]),
	} {
		if got := string(grafana["GF_AUTH_GENERIC_OAUTH_"+key]); got != want || got == "" {
			t.Errorf("Grafana's %s is %q", key, got)
		}
	}
	if got := string(secret(t, "storage", "minio-oauth")["MINIO_IDENTITY_OPENID_CONFIG_URL"]); got != e.Issuer+"/.well-known/openid-configuration" {
		t.Errorf("MinIO reads %s", got)
	}
	checkEnvoyGateway(t, objects, e.Issuer)
	checkArgoCD(t, objects, e.Issuer)
	checkAPIServer(t, objects)
}

// key is a key of a Secret or ConfigMap; the empty name stands for all of them.
type key struct{ kind, object, name string }

// keysOf returns what the Pods of a Deployment read.
func keysOf(d *appsv1.Deployment) []key {
	var keys []key
	spec := d.Spec.Template.Spec
	for _, c := range spec.Containers {
		for _, from := range c.EnvFrom {
			keys = append(keys, key{"Secret", from.SecretRef.Name, ""})
		}
		for _, variable := range c.Env {
			if ref := variable.ValueFrom; ref != nil {
				keys = append(keys, key{"Secret", ref.SecretKeyRef.Name, ref.SecretKeyRef.Key})
			}
		}
	}
	for _, volume := range spec.Volumes {
		switch {
		case volume.Secret != nil:
			for _, item := range volume.Secret.Items {
				keys = append(keys, key{"Secret", volume.Secret.SecretName, item.Key})
			}
		case volume.ConfigMap != nil:
			for _, item := range volume.ConfigMap.Items {
				keys = append(keys, key{"ConfigMap", volume.ConfigMap.Name, item.Key})
			}
		}
	}
	return keys
}

// checkKey fails the test if there is no such key, and the page has no command that makes it.
func checkKey(t *testing.T, page, namespace string, k key) {
	t.Helper()
	if k.kind == "Secret" && strings.Contains(page, "kubectl create secret generic "+k.object+" -n "+namespace+" ") {
		return
	}
	if k.kind == "ConfigMap" {
		var m corev1.ConfigMap
		if err := testenv.Kube.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: k.object}, &m); err != nil || m.Data[k.name] == "" {
			t.Errorf("ConfigMap %s has no key %s (%v)", k.object, k.name, err)
		}
		return
	}
	if data := secret(t, namespace, k.object); k.name != "" && len(data[k.name]) == 0 {
		t.Errorf("Secret %s has no key %s", k.object, k.name)
	}
}

func secret(t *testing.T, namespace, name string) map[string][]byte {
	t.Helper()
	var s corev1.Secret
	if err := testenv.Kube.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &s); err != nil {
		t.Fatal(err)
	}
	return s.Data
}

// checkEnvoyGateway compares the SecurityPolicy with the client.
func checkEnvoyGateway(t *testing.T, objects []*unstructured.Unstructured, issuer string) {
	t.Helper()
	type policy struct {
		metav1.ObjectMeta `json:"metadata"`
		Spec              struct {
			OIDC struct {
				Provider     struct{ Issuer string }
				ClientID     string
				ClientSecret struct{ Name string }
				RedirectURL  string
				Scopes       []string
			}
		}
	}
	p := typed[policy](t, objects, "SecurityPolicy")[0]
	oidc := p.Spec.OIDC
	data := secret(t, p.Namespace, oidc.ClientSecret.Name)
	var c v1alpha1.OAuthClient
	if err := testenv.Kube.Get(t.Context(), client.ObjectKey{Namespace: p.Namespace, Name: "gateway"}, &c); err != nil {
		t.Fatal(err)
	}
	if oidc.Provider.Issuer != issuer || oidc.ClientID != string(data["client_id"]) || string(data["client-secret"]) != string(data["client_secret"]) ||
		!slices.Contains(c.Spec.RedirectURIs, oidc.RedirectURL) || !slices.Equal(oidc.Scopes, c.Spec.Scopes) {
		t.Errorf("the SecurityPolicy says %+v, the client is %+v", oidc, c.Spec)
	}
}

// checkArgoCD compares the settings of Argo CD with the clients.
func checkArgoCD(t *testing.T, objects []*unstructured.Unstructured, issuer string) {
	t.Helper()
	var config struct{ Issuer, ClientID, ClientSecret, CLIClientID string }
	m := typed[corev1.ConfigMap](t, objects, "ConfigMap")[0]
	if err := yaml.Unmarshal([]byte(m.Data["oidc.config"]), &config); err != nil {
		t.Fatal(err)
	}
	name, k, _ := strings.Cut(strings.TrimPrefix(config.ClientSecret, "$"), ":")
	var s corev1.Secret
	if err := testenv.Kube.Get(t.Context(), client.ObjectKey{Namespace: m.Namespace, Name: name}, &s); err != nil {
		t.Fatal(err)
	}
	if s.Labels["app.kubernetes.io/part-of"] != "argocd" || len(s.Data[k]) == 0 || config.Issuer != issuer || config.ClientID != string(s.Data["client_id"]) {
		t.Errorf("Argo CD reads %+v, the Secret has the labels %v", config, s.Labels)
	}
	var cli v1alpha1.OAuthClient
	if err := testenv.Kube.Get(t.Context(), client.ObjectKey{Namespace: m.Namespace, Name: "argocd-cli"}, &cli); err != nil || cli.Status.ClientID != config.CLIClientID {
		t.Errorf("the command line's client id is %q (%v)", cli.Status.ClientID, err)
	}
}

// checkAPIServer compares the settings of kube-apiserver with the client.
func checkAPIServer(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	type configuration struct {
		JWT []struct{ Issuer struct{ Audiences []string } }
	}
	var c v1alpha1.OAuthClient
	if err := testenv.Kube.Get(t.Context(), client.ObjectKey{Namespace: "identity", Name: "kubectl"}, &c); err != nil {
		t.Fatal(err)
	}
	if got := typed[configuration](t, objects, "AuthenticationConfiguration")[0].JWT[0].Issuer.Audiences; !slices.Equal(got, []string{c.Status.ClientID}) {
		t.Errorf("kube-apiserver accepts tokens for %v, the client is %s", got, c.Status.ClientID)
	}
}

func TestEachEndpointOfDiscoveryHasAVariable(t *testing.T) {
	env := testenv.New(t)
	response, err := env.HTTP.Get(env.Issuer + "/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var discovery map[string]any
	if err := json.NewDecoder(response.Body).Decode(&discovery); err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response.Status, err)
	}
	want := map[string]string{}
	texts := map[string]string{}
	for name, value := range discovery {
		if name == "issuer" || name == "jwks_uri" || strings.HasSuffix(name, "_endpoint") {
			want[name], texts["the-"+name] = value.(string), "$("+name+")"
		}
	}
	env.ReadyClient("endpoints", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: "client_secret_basic",
		ConfigMap: &v1alpha1.ConfigMapTarget{Name: "endpoints", Data: texts},
	})
	var m corev1.ConfigMap
	if err := testenv.Kube.Get(t.Context(), client.ObjectKey{Namespace: env.AppNamespace, Name: "endpoints"}, &m); err != nil {
		t.Fatal(err)
	}
	for name, value := range want {
		if m.Data["the-"+name] != value {
			t.Errorf("$(%s) is %q, discovery says %q", name, m.Data["the-"+name], value)
		}
	}
	if len(want) < 8 {
		t.Errorf("discovery has %v only", want)
	}
}
