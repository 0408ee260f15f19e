// Package gitops tests that the objects of this project are good citizens of GitOps: the tools that
// wait for objects judge them rightly, and applying a manifest again changes nothing.
//
//	states_test.go   kstatus, Flux and Argo CD on objects of each kind in each state
//	argocd_test.go   config/argocd as Argo CD's administrator puts it in
//	reapply_test.go  samples and installation, applied twice
package gitops

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

const root = "../.."

// tools is the program of hack/gitops, and kubeconfig the administrator's.
var tools, kubeconfig, kubectlProgram string

func TestMain(m *testing.M) {
	os.Exit(main(m))
}

func main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gitops")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		tools, kubeconfig = filepath.Join(dir, "gitops"), filepath.Join(dir, "kubeconfig")
		err = build()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return testenv.Main(m, testenv.Options{ControlPlane: controlplane.Options{NoFsync: true}})
}

func build() error {
	command := exec.Command("go", "build", "-o", tools, ".")
	command.Dir, command.Env = filepath.Join(root, "hack", "gitops"), append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building hack/gitops: %w\n%s", err, output)
	}
	programs, err := controlplane.Build(context.Background(), os.Stderr)
	kubectlProgram = programs.Kubectl
	return err
}

// judgement is what a tool says of an object.
type judgement struct{ Status, Message string }

// judge returns what each tool says of each of the objects.
func judge(t *testing.T, objects []*unstructured.Unstructured) []map[string]judgement {
	t.Helper()
	var in bytes.Buffer
	for _, o := range objects {
		content, err := o.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		in.Write(content)
	}
	command := exec.CommandContext(t.Context(), tools,
		"-argocd", filepath.Join(root, "config/argocd/argocd-cm.yaml"), "-flux", filepath.Join(root, "config/flux/kustomizations.yaml"))
	var failures bytes.Buffer
	command.Stdin, command.Stderr = &in, &failures
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, failures.String())
	}
	var all []map[string]judgement
	for decoder := json.NewDecoder(bytes.NewReader(output)); decoder.More(); {
		var said map[string]judgement
		if err := decoder.Decode(&said); err != nil {
			t.Fatal(err)
		}
		all = append(all, said)
	}
	if len(all) != len(objects) {
		t.Fatalf("%d answers for %d objects", len(all), len(objects))
	}
	return all
}

// kubectl runs kubectl as the administrator, and returns its output.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	if err := testenv.ControlPlane.WriteKubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(t.Context(), kubectlProgram, append([]string{"--kubeconfig", kubeconfig}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %v: %v\n%s", args, err, output)
	}
	return string(output)
}
