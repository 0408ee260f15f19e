package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/operator"
)

// shippedDeployment is the manager's, as config/manager has it.
func shippedDeployment(t *testing.T) *appsv1.Deployment {
	t.Helper()
	root, err := controlplane.Root()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(root, "config", "manager", "deployment.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var d appsv1.Deployment
	if err := yaml.UnmarshalStrict(content, &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

// The namespace enforces the restricted Pod Security Standard, so the shipped Pod meets it.
func TestTokenServersRunFromTheImageOfTheManagersOwnPod(t *testing.T) {
	const image = "registry.example.com/oauth-operator:1.2.3@sha256:0123456789012345678901234567890123456789012345678901234567890123"
	cp := installed(t)
	clients, err := kubernetes.NewForConfig(cp.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	for name, container := range map[string]string{"own": containerName, "others": "sidecar"} {
		spec := shippedDeployment(t).Spec.Template.Spec
		manager := spec.Containers[0]
		if manager.Name != containerName {
			t.Fatalf("the shipped container is named %q", manager.Name)
		}
		manager.Name, manager.Image = container, image
		for i := range manager.Env {
			if f := manager.Env[i].ValueFrom.ResourceFieldRef; f != nil {
				f.ContainerName = container
			}
		}
		injected := *manager.DeepCopy()
		injected.Name, injected.Image, injected.Env = "injected", "proxy", nil
		spec.Containers = []corev1.Container{injected, manager}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
		if _, err := clients.CoreV1().Pods(operator.Namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	manager, err := cp.ConfigFor(t.Context(), operator.Namespace, operator.ServiceAccount)
	if err != nil {
		t.Fatal(err)
	}
	in := func(namespace, name string) func(string) string {
		return func(variable string) string {
			return map[string]string{podNamespaceVariable: namespace, podNameVariable: name}[variable]
		}
	}

	got, err := ownImage(t.Context(), manager, in(operator.Namespace, "own"))
	if err != nil || got != image {
		t.Errorf("%q, %v", got, err)
	}
	for what, c := range map[string]struct{ namespace, pod, says string }{
		"nothing says which Pod":   {"", "", "--tokenserver-image"},
		"no such Pod":              {operator.Namespace, "gone", "reading this process's Pod oauth-operator-system/gone"},
		"another container's name": {operator.Namespace, "others", `no container "manager"`},
		"another namespace's Pod":  {"default", "own", "forbidden"},
	} {
		if got, err := ownImage(t.Context(), manager, in(c.namespace, c.pod)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
}

func TestTheShippedDeploymentUsesFlagsThatThereAre(t *testing.T) {
	args := shippedDeployment(t).Spec.Template.Spec.Containers[0].Args
	var out strings.Builder
	if err := run(t.Context(), append(args, "--version"), &out); err != nil {
		t.Errorf("%q: %v", args, err)
	}
}
