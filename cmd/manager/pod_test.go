package main

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/oauth-operator/oauth-operator/hack/local/operator"
)

func TestTokenServersRunFromTheImageOfTheManagersOwnPod(t *testing.T) {
	const image = "registry.example.com/oauth-operator:1.2.3@sha256:0123456789012345678901234567890123456789012345678901234567890123"
	cp := installed(t)
	clients, err := kubernetes.NewForConfig(cp.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	for name, container := range map[string]string{"own": containerName, "others": "sidecar"} {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.PodSpec{ServiceAccountName: operator.ServiceAccount, Containers: []corev1.Container{
				{Name: "injected", Image: "proxy"}, {Name: container, Image: image},
			}},
		}
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
