package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/oauth-operator/oauth-operator/test/eventually"
)

func start(t *testing.T, o Options) *ControlPlane {
	t.Helper()
	o.NoFsync, o.Log = true, os.Stderr
	cp, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cp.Stop)
	return cp
}

func clientOf(t *testing.T, c *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func mustCreateConfigMap(t *testing.T, client kubernetes.Interface, name string, owner ...metav1.OwnerReference) *corev1.ConfigMap {
	t.Helper()
	made, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: owner},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func gone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("want NotFound, got %w", errors.Join(err))
}

func TestWhatIsOwnedGoesWithItsOwner(t *testing.T) {
	cp := start(t, Options{})
	client := clientOf(t, cp.AdminConfig())

	t.Run("an owner of a built-in kind", func(t *testing.T) {
		owner := mustCreateConfigMap(t, client, "owner")
		mustCreateConfigMap(t, client, "owned", metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID})
		if err := client.CoreV1().ConfigMaps("default").Delete(t.Context(), "owner", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually.NoError(t, "the ConfigMap is collected", func() error {
			_, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "owned", metav1.GetOptions{})
			return gone(err)
		})
	})
	t.Run("a namespace", func(t *testing.T) {
		if err := cp.Apply(t.Context(), "test", []byte(namespaceLast)); err != nil {
			t.Fatal(err)
		}
		if err := client.CoreV1().Namespaces().Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually.NoError(t, "the namespace is gone", func() error {
			_, err := client.CoreV1().Namespaces().Get(t.Context(), "shop", metav1.GetOptions{})
			return gone(err)
		})
	})
	t.Run("an owner of a kind just installed", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "crd.yaml"), []byte(widgetKind), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := cp.InstallCRDs(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		if err := cp.Apply(t.Context(), "test", []byte(widget)); err != nil {
			t.Fatal(err)
		}
		var made metav1.PartialObjectMetadata
		raw, err := client.CoreV1().RESTClient().Get().AbsPath(widgetPath).DoRaw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &made); err != nil {
			t.Fatal(err)
		}
		mustCreateConfigMap(t, client, "of-widget", metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "Widget", Name: "a", UID: made.UID})
		if err := client.CoreV1().RESTClient().Delete().AbsPath(widgetPath).Do(t.Context()).Error(); err != nil {
			t.Fatal(err)
		}
		deleted := time.Now()
		eventually.NoError(t, "the ConfigMap is collected", func() error {
			_, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "of-widget", metav1.GetOptions{})
			return gone(err)
		})
		if took := time.Since(deleted); took > 20*time.Second {
			t.Errorf("that took %s: the garbage collector did not know the kind", took)
		}
	})
}

func TestARestartKeepsDataTokensAndKubeconfigs(t *testing.T) {
	dir, stateDir := t.TempDir(), t.TempDir()
	first := start(t, Options{DataDir: stateDir})
	mustCreateConfigMap(t, clientOf(t, first.AdminConfig()), "kept")
	if err := first.Apply(t.Context(), "test", []byte(serviceAccount)); err != nil {
		t.Fatal(err)
	}
	token, err := first.ConfigFor(t.Context(), "default", "robot")
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := first.WriteKubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	port := first.apiPort

	if _, err := Start(t.Context(), Options{DataDir: stateDir}); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second control plane on the same data: %v", err)
	}
	first.Stop()

	second := start(t, Options{DataDir: stateDir, Port: port})
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := clientOf(t, config).CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("the ConfigMap, read with the old kubeconfig: %v", err)
	}
	if _, err := clientOf(t, token).CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("the ConfigMap, read with the old token: %v", err)
	}
	if second.AdminConfig().Host != token.Host {
		t.Errorf("the port is another one: %s", second.AdminConfig().Host)
	}
}

func TestAnOutageEndsOnTheSamePort(t *testing.T) {
	cp := start(t, Options{})
	config := cp.AdminConfig()
	client := clientOf(t, config)
	cp.StopAPIServer()
	if _, err := client.Discovery().ServerVersion(); err == nil {
		t.Fatal("the API server answers during the outage")
	}
	if err := cp.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if version.GitVersion != Version {
		t.Errorf("the API server is %s, want %s", version.GitVersion, Version)
	}
	select {
	case err := <-cp.Failed():
		t.Errorf("the outage ended more than the API server: %v", err)
	default:
	}
}

func TestStopLeavesNoProcessAndNoFile(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	cp := start(t, Options{})
	pids := []int{cp.etcd.PID(), cp.apiServer.PID(), cp.controller.PID()}
	began := time.Now()
	cp.Stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %s", took)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there (%v)", pid, err)
		}
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	cp.Stop()
}

func TestAProgramThatEndsByItselfIsReported(t *testing.T) {
	cp := start(t, Options{})
	if err := cp.etcd.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-cp.Failed():
		if !strings.Contains(err.Error(), "etcd") {
			t.Errorf("reported as %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the failure is not reported")
	}
}

func TestAServiceAccountMayDoWhatRBACSaysAndNoMore(t *testing.T) {
	audit := filepath.Join(t.TempDir(), "audit.log")
	cp := start(t, Options{AuditLog: audit, AuditPolicy: "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n"})
	if _, err := cp.WriteServiceAccountKubeconfig(t.Context(), "default", "robot", t.TempDir()); !apierrors.IsNotFound(err) {
		t.Errorf("a kubeconfig of a ServiceAccount that does not exist: %v", err)
	}
	if err := cp.Apply(t.Context(), "test", []byte(serviceAccount)); err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := cp.WriteServiceAccountKubeconfig(t.Context(), "default", "robot", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if config.BearerTokenFile == "" {
		t.Error("the kubeconfig holds the token itself, which cannot be renewed")
	}
	robot := clientOf(t, config)
	if _, err := robot.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("reading ConfigMaps, as its Role allows: %v", err)
	}
	if _, err := robot.CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("reading Secrets: %v", err)
	}
	eventually.NoError(t, "both requests are in the audit log", func() error {
		events, err := os.ReadFile(audit)
		if err == nil && bytes.Count(events, []byte(`"username":"system:serviceaccount:default:robot"`)) < 2 {
			return errors.New("they are not")
		}
		return err
	})

	tenant, err := cp.ConfigForUser("ann", "shop-developers")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := clientOf(t, tenant).CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a user without any right reads ConfigMaps: %v", err)
	}
}

func TestAMistakeInYAMLIsNamed(t *testing.T) {
	cp := start(t, Options{})
	for name, c := range map[string]struct{ yaml, want string }{
		"an unknown field":   {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndaat: {}\n", "ConfigMap a"},
		"a duplicate field":  {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {}\ndata: {}\n", `"data"`},
		"an unknown kind":    {"apiVersion: example.com/v7\nkind: Gadget\nmetadata: {name: a}\n", "Gadget"},
		"no kind":            {"apiVersion: v1\nmetadata: {name: a}\n", "document 1"},
		"a namespace absent": {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: nowhere}\n", "ConfigMap nowhere/a"},
	} {
		t.Run(name, func(t *testing.T) {
			err := cp.Apply(t.Context(), "test", []byte(c.yaml))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error that contains %q", err, c.want)
			}
		})
	}
}

func TestAStartThatFailsLeavesNothingAndSaysWhy(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	_, err := Start(t.Context(), Options{APIServerArgs: []string{"--no-such-flag"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("got %v, want the program's own words", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Start(ctx, Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the end of the context", err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

const namespaceLast = `
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: shop}
---
# The namespace stands after what lives in it.
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
`

const widgetPath = "/apis/example.com/v1/namespaces/default/widgets/a"

const widgetKind = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object}}
`

const widget = `
apiVersion: example.com/v1
kind: Widget
metadata: {name: a}
`

const serviceAccount = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: robot, namespace: default}
rules:
- {apiGroups: [""], resources: [configmaps], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: robot, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: robot}
subjects: [{kind: ServiceAccount, name: robot}]
`
