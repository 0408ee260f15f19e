package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/explain"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// What explain says of a manifest is what the condition of the client says when it is applied.
func TestAManifestIsExplainedWithTheSecretsAndTheConfigMapThatItNames(t *testing.T) {
	env := testenv.New(t)
	p := admin(env)
	holder := env.ReadyClient("holder", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: "client_secret_basic",
	})
	secrets := map[string]map[string]string{
		"weak": {"secret": "too-short"}, "good": {"secret": strings.Repeat("s", 40)}, "adoptable": {}, "adoptable-weak": {"client_secret": "too-short"}, "another": {},
	}
	for name, data := range secrets {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.AppNamespace, Name: name}, StringData: data}
		if strings.HasPrefix(name, "adoptable") {
			secret.Annotations = map[string]string{v1alpha1.AdoptAnnotation: "service"}
		}
		env.Create(secret)
	}
	env.Create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.AppNamespace, Name: "another"}})
	const fromSecret = "secret: {source: FromSecret, fromSecret: {name: NAME, key: secret}}"
	for name, test := range map[string]struct {
		spec, field, says string // field "": it succeeds
	}{
		"a mistake in a template of the Secret": {"secret: {source: Generate, target: {name: x, data: {URL: '$(no_such)'}}}", "spec.secret.target.data[URL]", "Invalid: "},
		"a mistake in one of the ConfigMap":     {"configMap: {name: x, data: {S: '$(no_such)'}}", "spec.configMap.data[S]", "Invalid: "},
		"no such Secret":                        {strings.Replace(fromSecret, "NAME", "absent", 1), "spec.secret.fromSecret", `SecretNotFound: there is no Secret "absent"`},
		"no such key":                           {"secret: {source: FromSecret, fromSecret: {name: good, key: none}}", "spec.secret.fromSecret", `has no key "none"`},
		"a weak value":                          {strings.Replace(fromSecret, "NAME", "weak", 1), "spec.secret.fromSecret", "WeakSecret: "},
		"what the operator wrote":               {"secret: {source: FromSecret, fromSecret: {name: holder-oauth, key: client_secret}}", "spec.secret.fromSecret", "is written by the operator"},
		"a good value":                          {strings.Replace(fromSecret, "NAME", "good", 1), "", ""},
		"a target that is not adopted":          {"secret: {source: Generate, target: {name: another}}", "spec.secret.target.name", "SecretExists: "},
		"a target of another client":            {"secret: {source: Generate, target: {name: holder-oauth}}", "spec.secret.target.name", `OAuthClient "holder" owns it`},
		"a target that it may adopt":            {"secret: {source: Generate, target: {name: adoptable}}", "", ""},
		"one with a weak value":                 {"secret: {source: Generate, target: {name: adoptable-weak}}", "spec.secret.target.name", "WeakSecret: "},
		"a ConfigMap that is not adopted":       {"configMap: {name: another}", "spec.configMap.name", "ConfigMapExists: "},
	} {
		path := filepath.Join(t.TempDir(), "manifest.yaml")
		manifest := serviceManifest(env, "service", test.spec)
		if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		if test.field == "" {
			explainJSON(p, 0, "-f", path)
			continue
		}
		a := explainJSON(p, exitNo, "-f", path)
		if len(a.Reasons) != 1 || a.Reasons[0].Field != test.field || !strings.Contains(a.Reasons[0].Message, test.says) {
			t.Errorf("%s: %+v", name, a.Reasons)
		}
	}

	// A Secret in the manifest counts as applied.
	path := filepath.Join(t.TempDir(), "manifest.yaml")
	whole := serviceManifest(env, "service", strings.Replace(fromSecret, "NAME", "coming", 1)) +
		"---\napiVersion: v1\nkind: Secret\nmetadata: {name: coming}\nstringData: {secret: " + strings.Repeat("s", 40) + "}\n"
	if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	explainJSON(p, 0, "-f", path)
	// What the client that is replaced has is its own.
	if err := os.WriteFile(path, []byte(serviceManifest(env, holder.Name, "displayName: Another")), 0o600); err != nil {
		t.Fatal(err)
	}
	explainJSON(p, 0, "-f", path)
	// Who may not read the Secret is told so.
	reader := newPerson(env, "reader").may(env.ServerNamespace, "get authorizationservers").may(env.AppNamespace, "get namespaces", "get,create,update oauthclients")
	a := explainJSON(reader, exitUnknown, "-f", path)
	last := a.Reasons[len(a.Reasons)-1]
	if a.Succeeds != explain.Unknown || last.Field != "spec.secret.target.name" || !strings.Contains(last.Message, `you may not read Secret "holder-oauth"`) {
		t.Errorf("for a reader: %+v", a)
	}
}

func serviceManifest(env *testenv.Env, name, spec string) string {
	return strings.NewReplacer("SERVER", env.ServerNamespace, "APPS", env.AppNamespace, "NAME", name).Replace(`
apiVersion: oauth-operator.dev/v1alpha1
kind: OAuthClient
metadata: {name: NAME, namespace: APPS}
spec:
  serverRef: {name: main, namespace: SERVER}
  grantTypes: [client_credentials]
  tokenEndpointAuthMethod: client_secret_basic
`) + "  " + spec + "\n"
}
