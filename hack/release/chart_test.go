package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const namespace = "oauth-operator-system"

func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil { // where the program runs
		panic(err)
	}
	os.Exit(m.Run())
}

// devel is a release of what a clone has.
func devel() release {
	return release{version: develVersion, image: reference{repository: develRepository, tag: develVersion}}
}

// render packs the chart, and has Helm unpack and render it. Files are by their names; what has
// no content but white space is left out.
func render(r release, values map[string]any, into string) (map[string]string, error) {
	_, packed, err := r.chart()
	if err != nil {
		return nil, err
	}
	chart, err := loader.LoadArchive(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	all, err := util.ToRenderValues(chart, values, common.ReleaseOptions{Name: "oauth-operator", Namespace: into, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	rendered := map[string]string{}
	for name, content := range files {
		if strings.TrimSpace(content) != "" {
			rendered[path.Base(name)] = content
		}
	}
	return rendered, nil
}

// rendered is render for values that must be good, without the notes.
func rendered(t *testing.T, values map[string]any) map[string]map[string]any {
	t.Helper()
	files, err := render(devel(), values, namespace)
	if err != nil {
		t.Fatalf("%v: %v", values, err)
	}
	all := map[string]map[string]any{}
	for name, content := range files {
		if name == "NOTES.txt" {
			continue
		}
		decode(t, name, []byte(content), all)
	}
	return all
}

// decode adds the objects of a YAML stream by their kinds and names.
func decode(t *testing.T, file string, content []byte, all map[string]map[string]any) {
	t.Helper()
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		var o map[string]any
		if err == nil {
			err = yaml.UnmarshalStrict(document, &o)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if o == nil { // nothing but a comment
			continue
		}
		if all[key(o)] != nil {
			t.Errorf("%s: there are two of %s", file, key(o))
		}
		all[key(o)] = o
	}
}

// key of an object.
func key(o map[string]any) string {
	metadata, _ := o["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	in, _ := metadata["namespace"].(string)
	kind, _ := o["kind"].(string)
	return kind + " " + in + "/" + name
}

func text(t *testing.T, o any) string {
	t.Helper()
	content, err := json.MarshalIndent(o, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// takeKept removes the annotation by which Helm leaves an object when its release is uninstalled, and
// reports whether there was one. It is all that kustomize does not render.
func takeKept(o map[string]any) bool {
	metadata := o["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	policy := annotations["helm.sh/resource-policy"]
	delete(annotations, "helm.sh/resource-policy")
	if len(annotations) == 0 {
		delete(metadata, "annotations")
	}
	return policy == "keep"
}

// One source of truth: Helm installs what kustomize installs.
func TestTheChartRendersWhatTheKustomizationDoes(t *testing.T) {
	for dirs, values := range map[string]map[string]any{
		kustomization:                        nil,
		"config/namespaced":                  {"namespaces": []any{"identity", "shop"}},
		kustomization + " config/monitoring": {"monitoring": map[string]any{"enabled": true}},
	} {
		want := map[string]map[string]any{}
		for dir := range strings.FieldsSeq(dirs) {
			manifests, err := build(dir)
			if err != nil {
				t.Fatal(err)
			}
			decode(t, dir, manifests, want)
		}
		delete(want, "Namespace /"+namespace) // helm install --create-namespace makes it
		checkRendering(t, dirs, rendered(t, values), want)
	}
}

func checkRendering(t *testing.T, dir string, got, want map[string]map[string]any) {
	t.Helper()
	if len(got) < 20 {
		t.Errorf("there are only %d objects", len(got))
	}
	for _, name := range sortedKeys(got) {
		if want[name] == nil {
			t.Errorf("%s has no %s", dir, name)
		}
		keep := strings.HasPrefix(name, "CustomResourceDefinition ") || name == "ClusterRole /oauth-operator-tokenserver"
		if takeKept(got[name]) != keep {
			t.Errorf("that %s is kept by an uninstall is %v", name, !keep)
		}
	}
	for _, name := range sortedKeys(want) {
		switch {
		case got[name] == nil:
			t.Errorf("the chart has no %s, which is in %s", name, dir)
		case text(t, got[name]) != text(t, want[name]):
			t.Errorf("%s is in the chart\n%s\nand in %s\n%s", name, text(t, got[name]), dir, text(t, want[name]))
		}
	}
}

func TestTheChartGoesIntoAnotherNamespace(t *testing.T) {
	files, err := render(devel(), nil, "elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if strings.Contains(content, namespace) {
			t.Errorf("%s names %s", name, namespace)
		}
	}
	if !strings.Contains(files["NOTES.txt"], "namespace elsewhere") {
		t.Errorf("the notes are\n%s", files["NOTES.txt"])
	}
}

func TestWithNamespacesThereAreRoleBindingsInThemAlone(t *testing.T) {
	got := rendered(t, map[string]any{"namespaces": []any{"identity", "shop"}})
	if got["ClusterRoleBinding /oauth-operator-manager"] != nil {
		t.Error("the manager has its rights in all namespaces")
	}
	for _, in := range []string{"identity", "shop"} {
		if got["RoleBinding "+in+"/oauth-operator-manager-namespace"] == nil {
			t.Errorf("there is no RoleBinding in %s", in)
		}
	}
	if got["ClusterRoleBinding /oauth-operator-manager-cluster"] == nil {
		t.Error("the manager may not read namespaces")
	}
	if d := text(t, got["Deployment "+namespace+"/oauth-operator-manager"]); !strings.Contains(d, `"--namespaces=identity,shop"`) {
		t.Error(d)
	}
}

func TestEachValueActs(t *testing.T) {
	const deployment = "Deployment " + namespace + "/oauth-operator-manager"
	list, object := func(items ...any) []any { return items }, func(key string, value any) map[string]any { return map[string]any{key: value} }
	for _, c := range []struct {
		value string
		set   any
		in    string // what has it afterwards
		has   string // empty: the object is gone
	}{
		{"image.repository", "example.com/o", deployment, `"image": "example.com/o:0.0.0-devel"`},
		{"image.tag", "x", deployment, `"image": "localhost/oauth-operator:x"`},
		{"image.digest", "sha256:" + strings.Repeat("0", 64), deployment, `"image": "localhost/oauth-operator@sha256:0`},
		{"image.pullPolicy", "Never", deployment, `"imagePullPolicy": "Never"`},
		{"imagePullSecrets", list(object("name", "pull")), deployment, `"name": "pull"`},
		{"crds.enabled", false, "CustomResourceDefinition /oauthclients.oauth-operator.dev", ""},
		{"admissionPolicy.enabled", false, "ValidatingAdmissionPolicy /oauth-operator-manager-secrets", ""},
		{"namespaces", list("shop"), "ClusterRoleBinding /oauth-operator-manager", ""},
		{"tokenServerImage", "example.com/t:1", deployment, `"--tokenserver-image=example.com/t:1"`},
		{"replicas", 3, deployment, `"replicas": 3`},
		{"podDisruptionBudget.enabled", false, "PodDisruptionBudget " + namespace + "/oauth-operator-manager", ""},
		{"resources", object("limits", object("memory", "1Gi")), deployment, `"memory": "1Gi"`},
		{"extraArgs", list("--x=y"), deployment, `"--x=y"`},
		{"extraEnv", list(map[string]any{"name": "E", "value": "v"}), deployment, `"name": "E"`},
		{"podLabels", object("a", "b"), deployment, `"a": "b"`},
		{"podAnnotations", object("a", "b"), deployment, `"a": "b"`},
		{"nodeSelector", object("a", "b"), deployment, `"a": "b"`},
		{"tolerations", list(object("key", "a")), deployment, `"key": "a"`},
		{"affinity", object("nodeAffinity", object("a", "b")), deployment, `"a": "b"`},
		{"topologySpreadConstraints", list(object("topologyKey", "rack")), deployment, `"topologyKey": "rack"`},
		{"priorityClassName", "high", deployment, `"priorityClassName": "high"`},
		{"metrics.enabled", false, "Service " + namespace + "/oauth-operator-manager-metrics", ""},
		{"metrics.certSecretName", "cert", deployment, `"secretName": "cert"`},
		{"monitoring.enabled", true, "PrometheusRule " + namespace + "/oauth-operator", `"alert"`},
	} {
		values := map[string]any{}
		if group, name, nested := strings.Cut(c.value, "."); nested {
			values[group] = map[string]any{name: c.set}
		} else {
			values[c.value] = c.set
		}
		o := rendered(t, values)[c.in]
		switch {
		case c.has == "" && o != nil:
			t.Errorf("%s=%v leaves %s", c.value, c.set, c.in)
		case c.has != "" && !strings.Contains(text(t, o), c.has):
			t.Errorf("%s=%v: %s has no %s:\n%s", c.value, c.set, c.in, c.has, text(t, o))
		}
	}
	monitored := rendered(t, object("monitoring", map[string]any{"enabled": true, "labels": object("release", "prometheus")}))
	for _, kind := range []string{"ServiceMonitor " + namespace + "/oauth-operator-manager", "PrometheusRule " + namespace + "/oauth-operator"} {
		if m := text(t, monitored[kind]); !strings.Contains(m, `"release": "prometheus"`) {
			t.Errorf("monitoring.labels: %.300s", m)
		}
	}
	for _, none := range []any{list(), nil} {
		d := text(t, rendered(t, object("topologySpreadConstraints", none))[deployment])
		if strings.Contains(d, "topologySpreadConstraints") != (none == nil) {
			t.Errorf("topologySpreadConstraints=%v:\n%s", none, d)
		}
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	for what, values := range map[string]map[string]any{
		"replica":           {"replica": 3},
		"/image":            {"image": map[string]any{"name": "x"}},
		"/image/digest":     {"image": map[string]any{"digest": "sha256:1"}},
		"/image/repository": {"image": map[string]any{"repository": "example.com/o@sha256:1"}},
		"/namespaces":       {"namespaces": []any{"Shop"}},
		"/replicas":         {"replicas": "two"},
		"/crds/enabled":     {"crds": map[string]any{"enabled": "yes"}},
		"app.kubernetes.io": {"podLabels": map[string]any{"app.kubernetes.io/name": "x"}},
		"/extraArgs":        {"extraArgs": []any{"x"}},
	} {
		if _, err := render(devel(), values, namespace); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v: %v", values, err)
		}
	}
}

func TestTheChartDocumentsEachValue(t *testing.T) {
	files, err := devel().chartFiles()
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.UnmarshalStrict(files["values.yaml"], &values); err != nil {
		t.Fatal(err)
	}
	var there []string
	for name, value := range values {
		nested, _ := value.(map[string]any)
		if len(nested) == 0 || name == "resources" {
			there = append(there, name)
			continue
		}
		for inner := range nested {
			there = append(there, name+"."+inner)
		}
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Za-z.]+)` \\|").FindAllSubmatch(files["README.md"], -1) {
		documented = append(documented, string(row[1]))
	}
	slices.Sort(there)
	slices.Sort(documented)
	if !slices.Equal(there, documented) {
		t.Errorf("the values are\n%q\nand README.md has\n%q", there, documented)
	}
}
