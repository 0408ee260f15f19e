// Package examples applies the manifests of the directory examples to a real API server that has the
// kinds that they need, of the operator, of cert-manager and of the Gateway API, and compares what
// they name with what the operator makes.
package examples

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane/controlplanetest"
)

const (
	root = "../.."
	// namespaces are those that the examples take for granted.
	namespaces = `
{apiVersion: v1, kind: Namespace, metadata: {name: identity}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: oauth-operator-system}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
`
)

// plane is the control plane that all tests of the package share.
var plane *controlplane.ControlPlane

func TestMain(m *testing.M) { controlplanetest.Main(m, setUp) }

func setUp(ctx context.Context, started *controlplane.ControlPlane) error {
	plane = started
	definitions := []string{filepath.Join(root, "config", "crd", "bases")}
	for module, dir := range map[string]string{
		"github.com/cert-manager/cert-manager": "deploy/crds", "sigs.k8s.io/gateway-api": "config/crd/standard",
	} {
		source, err := moduleDir(module)
		if err != nil {
			return err
		}
		definitions = append(definitions, filepath.Join(source, dir))
	}
	for _, dir := range definitions {
		if err := plane.InstallCRDs(ctx, dir); err != nil {
			return fmt.Errorf("installing the CustomResourceDefinitions of %s: %w", dir, err)
		}
	}
	if err := plane.Apply(ctx, "examples", []byte(namespaces)); err != nil {
		return err
	}
	return nil
}

// moduleDir returns where the source of a module is, in the version of the module that builds
// cert-manager for the end-to-end tests.
func moduleDir(module string) (string, error) {
	command := exec.Command("go", "mod", "download", "-json", module)
	command.Dir, command.Stderr = filepath.Join(root, "hack", "certmanager"), os.Stderr
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("downloading %s: %w", module, err)
	}
	var found struct{ Dir string }
	return found.Dir, json.Unmarshal(output, &found)
}

// files returns the content of the examples, by name.
func files(t *testing.T) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "examples", "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("there are no examples (%v)", err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		if all[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestEachExampleIsAdmitted(t *testing.T) {
	index, err := os.ReadFile(filepath.Join(root, "examples", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files(t) {
		if !strings.Contains(string(index), "("+name+")") {
			t.Errorf("examples/README.md does not list %s", name)
		}
		if err := plane.Apply(t.Context(), "examples", content); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		removeServers(t) // the issuer is immutable, and not that of each example
	}
}

func removeServers(t *testing.T) {
	t.Helper()
	admin, err := dynamic.NewForConfig(plane.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	servers := admin.Resource(v1alpha1.GroupVersion.WithResource("authorizationservers")).Namespace("identity")
	if err := servers.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
}

// objects returns the objects of a kind in a manifest.
func objects[T any](t *testing.T, manifest []byte, kind string) []*T {
	t.Helper()
	all, err := controlplane.Decode(manifest)
	if err != nil {
		t.Fatal(err)
	}
	var found []*T
	for _, o := range all {
		if o.GetKind() != kind {
			continue
		}
		object := new(T)
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, object); err != nil {
			t.Fatal(err)
		}
		found = append(found, object)
	}
	return found
}

func TestRoutesLeadToTheServiceOfTheServerBesideThem(t *testing.T) {
	routes := 0
	for name, content := range files(t) {
		for _, server := range objects[v1alpha1.AuthorizationServer](t, content, "AuthorizationServer") {
			service := workload.Service(server)
			host := strings.TrimPrefix(server.Spec.Issuer, "https://")
			for _, ingress := range objects[networkingv1.Ingress](t, content, "Ingress") {
				routes++
				backend := ingress.Spec.Rules[0].HTTP.Paths[0].Backend.Service
				if ingress.Namespace != service.Namespace || backend.Name != service.Name || backend.Port.Name != service.Spec.Ports[0].Name {
					t.Errorf("%s: the Ingress leads to %+v, the Service is %s/%s with the port %s", name, backend, service.Namespace, service.Name, service.Spec.Ports[0].Name)
				}
				if ingress.Spec.Rules[0].Host != host {
					t.Errorf("%s: the Ingress is for %s, the issuer %s", name, ingress.Spec.Rules[0].Host, server.Spec.Issuer)
				}
			}
			for _, kind := range []string{"HTTPRoute", "TLSRoute"} {
				for _, route := range objects[map[string]any](t, content, kind) {
					routes++
					checkRoute(t, name, &unstructured.Unstructured{Object: *route}, service, host)
				}
			}
		}
	}
	if routes != 3 {
		t.Errorf("there are %d routes, and should be an Ingress, an HTTPRoute and a TLSRoute", routes)
	}
}

func checkRoute(t *testing.T, file string, route *unstructured.Unstructured, service *corev1.Service, host string) {
	t.Helper()
	hosts, _, _ := unstructured.NestedStringSlice(route.Object, "spec", "hostnames")
	if route.GetNamespace() != service.Namespace || len(hosts) != 1 || hosts[0] != host {
		t.Errorf("%s: the route is for %v in namespace %s, the server is %s in %s", file, hosts, route.GetNamespace(), host, service.Namespace)
	}
	rules, _, _ := unstructured.NestedSlice(route.Object, "spec", "rules")
	for _, rule := range rules {
		backends, _, _ := unstructured.NestedSlice(rule.(map[string]any), "backendRefs")
		for _, b := range backends {
			backend := b.(map[string]any)
			if backend["name"] != service.Name || fmt.Sprint(backend["port"]) != fmt.Sprint(service.Spec.Ports[0].Port) {
				t.Errorf("%s: the route leads to %v, the Service is %s with the port %d", file, backend, service.Name, service.Spec.Ports[0].Port)
			}
		}
	}
}

func TestNetworkPoliciesSelectThePodsThatTheySpeakOf(t *testing.T) {
	manifest := files(t)["networkpolicies.yaml"]
	deployment, err := os.ReadFile(filepath.Join(root, "config", "manager", "deployment.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	type object struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	server := &v1alpha1.AuthorizationServer{ObjectMeta: metav1.ObjectMeta{Name: "main", Namespace: "identity"}}
	pods := map[string]corev1.PodTemplateSpec{
		"tokenserver": workload.Deployment(server, "image").Spec.Template,
		"manager":     objects[object](t, deployment, "Deployment")[0].Spec.Template,
	}
	policies := objects[networkingv1.NetworkPolicy](t, manifest, "NetworkPolicy")
	if len(policies) != len(pods) {
		t.Fatalf("there are %d NetworkPolicies", len(policies))
	}
	for _, policy := range policies {
		pod := pods[policy.Name]
		selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
		if err != nil {
			t.Fatal(err)
		}
		if !selector.Matches(labels.Set(pod.Labels)) {
			t.Errorf("the NetworkPolicy %s does not select Pods with the labels %v", policy.Name, pod.Labels)
		}
		for _, rule := range policy.Spec.Ingress {
			for _, port := range rule.Ports {
				if port.Port.StrVal != "" && !hasPort(pod, port.Port.StrVal) {
					t.Errorf("the NetworkPolicy %s names the port %s, which the Pods do not have", policy.Name, port.Port.StrVal)
				}
			}
		}
	}
}

func hasPort(pod corev1.PodTemplateSpec, name string) bool {
	for _, port := range pod.Spec.Containers[0].Ports {
		if port.Name == name {
			return true
		}
	}
	return false
}
