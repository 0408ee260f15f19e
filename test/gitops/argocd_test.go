package gitops

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// readYAML decodes a file of config/argocd.
func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, file))
	if err == nil {
		err = yaml.UnmarshalStrict(content, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// scripts returns Argo CD's health scripts by the names of the kinds.
func scripts(t *testing.T) map[string]string {
	t.Helper()
	var configMap corev1.ConfigMap
	readYAML(t, "config/argocd/argocd-cm.yaml", &configMap)
	byKind := map[string]string{}
	for key, script := range configMap.Data {
		kind, found := strings.CutPrefix(key, "resource.customizations.health.oauth-operator.dev_")
		if !found {
			t.Errorf("config/argocd/argocd-cm.yaml has the key %s", key)
		}
		byKind[kind] = script
	}
	return byKind
}

// exclusion is an item of resource.exclusions, as Argo CD reads it.
type exclusion struct{ APIGroups, Kinds, Clusters []string }

func (e exclusion) has(group, kind string) bool {
	return slices.Contains(e.APIGroups, group) && (slices.Contains(e.Kinds, kind) || slices.Contains(e.Kinds, "*")) && slices.Contains(e.Clusters, "*")
}

// A kind without a script is Healthy for Argo CD, whatever its conditions say.
func TestArgoCDKnowsTheHealthOfEachKindThatItDoesNotExclude(t *testing.T) {
	var exclusions []exclusion
	readYAML(t, "config/argocd/resource-exclusions.yaml", &exclusions)
	left := scripts(t)
	files, err := filepath.Glob(filepath.Join(root, "config/crd/bases/*.yaml"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d definitions (%v)", len(files), err)
	}
	for _, file := range files {
		var crd apiextensionsv1.CustomResourceDefinition
		readYAML(t, strings.TrimPrefix(file, root+"/"), &crd)
		isExcluded := slices.ContainsFunc(exclusions, func(e exclusion) bool { return e.has(crd.Spec.Group, crd.Spec.Names.Kind) })
		if hasScript := left[crd.Spec.Names.Kind] != ""; hasScript == isExcluded {
			t.Errorf("that %s has a script is %v, and that it is excluded %v", crd.Name, hasScript, isExcluded)
		}
		delete(left, crd.Spec.Names.Kind)
	}
	if len(left) > 0 {
		t.Errorf("there are scripts for %q", slices.Collect(maps.Keys(left)))
	}
}

// argocdCM is the ConfigMap of an Argo CD that has a configuration already.
const argocdCM = `apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
data:
  resource.exclusions: theirs
`

func checkMerged(t *testing.T, data map[string]string) {
	t.Helper()
	if data["resource.exclusions"] != "theirs" {
		t.Errorf("what was there is %q", data["resource.exclusions"])
	}
	for kind, script := range scripts(t) {
		if data["resource.customizations.health.oauth-operator.dev_"+kind] != script {
			t.Errorf("the script for %s is not there", kind)
		}
	}
}

func TestTheScriptsForArgoCDAreAPatchForKustomize(t *testing.T) {
	dir := t.TempDir()
	ours, err := os.ReadFile(filepath.Join(root, "config/argocd/argocd-cm.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"argocd-cm.yaml": argocdCM, "oauth-operator.yaml": string(ours),
		"kustomization.yaml": "resources: [argocd-cm.yaml]\npatches: [{path: oauth-operator.yaml}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var merged corev1.ConfigMap
	if err := yaml.UnmarshalStrict([]byte(kubectl(t, "kustomize", dir)), &merged); err != nil {
		t.Fatal(err)
	}
	checkMerged(t, merged.Data)
}

func TestTheScriptsForArgoCDAreAPatchForKubectl(t *testing.T) {
	if err := testenv.Kube.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "argocd"}}); err != nil {
		t.Fatal(err)
	}
	if err := testenv.ControlPlane.Apply(t.Context(), "argocd", []byte(strings.Replace(argocdCM, "metadata:\n", "metadata:\n  namespace: argocd\n", 1))); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "patch", "configmap", "argocd-cm", "-n", "argocd", "--patch-file", filepath.Join(root, "config/argocd/argocd-cm.yaml"))
	var merged corev1.ConfigMap
	if err := testenv.Kube.Get(t.Context(), client.ObjectKey{Namespace: "argocd", Name: "argocd-cm"}, &merged); err != nil {
		t.Fatal(err)
	}
	checkMerged(t, merged.Data)
}
