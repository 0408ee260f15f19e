//go:build e2e

// Package e2e has the tests on a real cluster, with kubelet, Services and DNS: what people install, run and do to it later. Its script run
// builds the images, brings them to the nodes and starts the tests; hack/cluster is a cluster for it. Manifests are in testdata, and what
// runs in the Pods of app teams is the program client.
//
//	main_test.go          installs cert-manager and the operator once for all tests
//	cluster_test.go       kubectl, and waiting for what the cluster does
//	report_test.go        what a failed test prints of the cluster
//	load_test.go          a steady load, and what failed of it
//	scenario_test.go      the namespaces, server and clients that the tests share
//	*_test.go             one thing each that has to be true
package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Where the operator is.
const (
	systemNamespace = "oauth-operator-system"
	managerName     = "oauth-operator-manager"
)

// What the script run says.
var (
	oldVersion       = os.Getenv("OLD_VERSION") // the images of the operator: the same code twice
	newVersion       = os.Getenv("NEW_VERSION")
	certManagerCRDs  = os.Getenv("CERT_MANAGER_CRDS")
	restartAPIServer = os.Getenv("RESTART_APISERVER")
	helm             = os.Getenv("HELM")
)

// The cluster, as its administrator sees it.
var (
	config *rest.Config
	kube   client.Client
	pods   kubernetes.Interface // for what is no object: logs, the proxy to Pods, evictions
)

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	if err := setUp(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: "+err.Error())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func setUp(ctx context.Context) error {
	if oldVersion == "" || newVersion == "" || certManagerCRDs == "" {
		return fmt.Errorf("OLD_VERSION, NEW_VERSION and CERT_MANAGER_CRDS are needed: start these tests with make e2e")
	}
	if err := connect(); err != nil {
		return err
	}
	if err := install(ctx, oldVersion); err != nil {
		return err
	}
	if _, err := runKubectl(ctx, "apply", "--server-side", "-f", certManagerCRDs); err != nil {
		return err
	}
	if _, err := runKubectl(ctx, "wait", "--for=condition=Established", "--timeout=60s", "-f", certManagerCRDs); err != nil {
		return err
	}
	if _, err := runKubectl(ctx, "apply", "-f", filepath.Join("testdata", "cert-manager.yaml")); err != nil {
		return err
	}
	_, err := runKubectl(ctx, "rollout", "status", "-n", "cert-manager", "deployment/cert-manager", "--timeout=120s")
	return err
}

func connect() error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, internalv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	var err error
	if config, err = clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG")); err != nil {
		return fmt.Errorf("reading KUBECONFIG: %w", err)
	}
	config.QPS, config.Timeout = -1, time.Minute
	if kube, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	pods, err = kubernetes.NewForConfig(config)
	return err
}

// install applies config/default with the operator's image of a version, as people do from a clone, and waits until it runs. Arguments are
// added to those of the manager.
func install(ctx context.Context, version string, arguments ...string) error {
	dir := filepath.Join("..", "..", "bin", "e2e", "install")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	kustomization := fmt.Sprintf("resources: [../../../config/default]\nimages: [{name: localhost/oauth-operator, newTag: %q}]\n", version)
	if len(arguments) > 0 {
		kustomization += "patches:\n- target: {kind: Deployment, name: " + managerName + "}\n  patch: |-\n"
		for _, argument := range arguments {
			kustomization += fmt.Sprintf("    - {op: add, path: /spec/template/spec/containers/0/args/-, value: %q}\n", argument)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(kustomization), 0o644); err != nil {
		return err
	}
	if _, err := runKubectl(ctx, "apply", "--server-side", "--force-conflicts", "-k", dir); err != nil {
		return err
	}
	_, err := runKubectl(ctx, "rollout", "status", "-n", systemNamespace, "deployment/"+managerName, "--timeout=120s")
	return err
}
