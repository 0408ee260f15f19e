package gitops

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// copySamples copies config/samples, with an issuer on a free port, and returns the directory and
// the objects.
func copySamples(t *testing.T) (dir string, objects []*unstructured.Unstructured) {
	t.Helper()
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	files, err := filepath.Glob(filepath.Join(root, "config/samples/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.ReplaceAll(string(content), "http://127.0.0.1:8080", "http://"+net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if objects, err = controlplane.ReadDir(dir); err != nil {
		t.Fatal(err)
	}
	if len(objects) < 10 {
		t.Fatalf("there are %d samples", len(objects))
	}
	return dir, objects
}

// snapshot returns what the API server has of the objects, without their status, and without
// who manages which field: Kubernetes notes that of an object without fields of its own at the second
// apply only.
func snapshot(t *testing.T, objects []*unstructured.Unstructured) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, o := range objects {
		now := &unstructured.Unstructured{}
		now.SetGroupVersionKind(o.GroupVersionKind())
		if err := testenv.Kube.Get(t.Context(), client.ObjectKeyFromObject(o), now); err != nil {
			t.Fatal(err)
		}
		now.SetManagedFields(nil)
		now.SetResourceVersion("")
		delete(now.Object, "status")
		content, err := json.MarshalIndent(now, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		all[o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName()] = string(content)
	}
	return all
}

// modes are the ways to apply.
var modes = map[string][]string{"client-side": nil, "server-side": {"--server-side"}}

// checkReapplied applies what is applied already, and fails the test if that changes anything or
// would be shown as a difference.
func checkReapplied(t *testing.T, mode string, objects []*unstructured.Unstructured, args ...string) {
	t.Helper()
	before := snapshot(t, objects)
	kubectl(t, append([]string{"apply"}, args...)...)
	for name, after := range snapshot(t, objects) {
		if after != before[name] {
			t.Errorf("%s: %s was\n%s\nand is\n%s", mode, name, before[name], after)
		}
	}
	kubectl(t, append([]string{"diff"}, args...)...) // exits with 1 if there is a difference
}

func waitUntilReady(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	for _, o := range objects {
		if o.GroupVersionKind().Group != v1alpha1.GroupVersion.Group {
			continue
		}
		eventually.Within(t, time.Minute, o.GetKind()+" "+o.GetName()+" is Ready", func() (bool, string) {
			now := o.DeepCopy()
			if err := testenv.Kube.Get(t.Context(), client.ObjectKeyFromObject(o), now); err != nil {
				return false, err.Error()
			}
			conditions := conditionsOf(t, now)
			state, _ := json.Marshal(conditions)
			return testenv.IsTrue(conditions, v1alpha1.ConditionReady), string(state)
		})
	}
}

func TestASecondApplyOfTheSamplesChangesNothing(t *testing.T) {
	for mode, flags := range modes {
		dir, objects := copySamples(t)
		args := append([]string{"-k", dir}, flags...)
		kubectl(t, append([]string{"apply"}, args...)...)
		waitUntilReady(t, objects)
		checkReapplied(t, mode, objects, args...)
		kubectl(t, "delete", "--wait", "-k", dir)
	}
}

// A HorizontalPodAutoscaler writes the number to the scale subresource, as kubectl scale does.
func TestAnApplyWithoutReplicasLeavesTheScaleAlone(t *testing.T) {
	for mode, flags := range modes {
		dir, _ := copySamples(t)
		apply := append([]string{"apply", "-k", dir}, flags...)
		kubectl(t, apply...)
		kubectl(t, "scale", "-n", "demo", "authorizationserver/demo", "--replicas=3")
		kubectl(t, apply...)
		server := &v1alpha1.AuthorizationServer{}
		if err := testenv.Kube.Get(t.Context(), client.ObjectKey{Namespace: "demo", Name: "demo"}, server); err != nil {
			t.Fatal(err)
		}
		if got := server.Spec.Deployment.Replicas; got == nil || *got != 3 {
			t.Errorf("%s: an apply scales to %v", mode, got)
		}
		kubectl(t, "delete", "--wait", "-k", dir)
	}
}

func TestASecondApplyOfTheInstallationChangesNothing(t *testing.T) {
	dir := filepath.Join(root, "config/default")
	objects, err := controlplane.Decode([]byte(kubectl(t, "kustomize", dir)))
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-k", dir, "--server-side"}
	kubectl(t, append([]string{"apply"}, args...)...) // the environment has applied a part of it, as another manager of fields
	checkReapplied(t, "server-side", objects, args...)
}

// Tools that do not know the schema compare lists item by item, and show a default in one as a
// difference for ever. Other defaults they leave alone, and people cannot tell them from what they
// wrote: there are as few as can be.
func TestTheSchemasHaveNoDefaultsButThoseOfReplicasAndStatus(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "config/crd/bases/*.yaml"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d definitions (%v)", len(files), err)
	}
	found := map[string]bool{}
	for _, file := range files {
		var crd apiextensionsv1.CustomResourceDefinition
		readYAML(t, strings.TrimPrefix(file, root+"/"), &crd)
		for _, version := range crd.Spec.Versions {
			collectDefaults(*version.Schema.OpenAPIV3Schema, crd.Spec.Names.Kind, found)
		}
	}
	for _, kind := range []string{"AuthorizationServer", "IdentityProvider", "OAuthClient", "OAuthUser", "ResourceServer"} {
		delete(found, kind+".status")
	}
	delete(found, "AuthorizationServer.spec.deployment")
	delete(found, "AuthorizationServer.spec.deployment.replicas")
	for path := range found {
		t.Errorf("%s has a default", path)
	}
}

func collectDefaults(schema apiextensionsv1.JSONSchemaProps, path string, found map[string]bool) {
	if schema.Default != nil {
		found[path] = true
	}
	for name, property := range schema.Properties {
		collectDefaults(property, path+"."+name, found)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		collectDefaults(*schema.Items.Schema, path+"[]", found)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		collectDefaults(*schema.AdditionalProperties.Schema, path+".*", found)
	}
}
