package controllers

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

// kubectl delete -f install.yaml asks for the deletion of all that is installed.
func TestAnUninstallLeavesTheDefinitionsAndTheRoleOfTokenServers(t *testing.T) {
	kept := []client.Object{&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: workload.ClusterRole}}}
	var definitions unstructured.UnstructuredList
	definitions.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinitionList"})
	if err := admin.List(t.Context(), &definitions); err != nil {
		t.Fatal(err)
	}
	for i := range definitions.Items {
		if strings.HasSuffix(definitions.Items[i].GetName(), v1alpha1.GroupVersion.Group) {
			kept = append(kept, &definitions.Items[i])
		}
	}
	if files, err := filepath.Glob("../config/crd/bases/*.yaml"); err != nil || len(kept) != len(files)+1 {
		t.Fatalf("there are %d definitions, want one for each of %d files (%v)", len(kept)-1, len(files), err)
	}
	for _, o := range kept {
		eventually.True(t, o.GetName()+" is kept", func() bool {
			err := admin.Delete(t.Context(), o, client.DryRunAll)
			return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "annotate it with oauth-operator.dev/allow-deletion=true")
		})
		annotate := func(value string) {
			patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"oauth-operator.dev/allow-deletion":`+value+`}}}`))
			if err := admin.Patch(t.Context(), o, patch); err != nil {
				t.Fatal(err)
			}
		}
		annotate(`"true"`)
		if err := admin.Delete(t.Context(), o, client.DryRunAll); err != nil {
			t.Errorf("%s stays though it is annotated: %v", o.GetName(), err)
		}
		annotate("null")
	}
	others := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "others-" + newNamespace(t)}}
	create(t, others)
	if err := admin.Delete(t.Context(), others); err != nil {
		t.Errorf("another ClusterRole stays: %v", err)
	}
}

// A policy cannot keep itself from being deleted: without it, the second uninstall would take all
// that the first one left.
func TestTheCommandThatUninstallsTakesNothingThatIsToStayHoweverOftenItIsGiven(t *testing.T) {
	programs, err := controlplane.Build(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := plane.WriteKubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	const command = "kubectl delete -k config/default -l oauth-operator.dev/uninstall!=keep"
	if !strings.Contains(string(page), command) {
		t.Fatalf("docs/install.md does not say %q", command)
	}
	arguments := strings.Fields(command)[1:]
	arguments = append(arguments, "--kubeconfig", kubeconfig, "--dry-run=server", "--ignore-not-found", "--output=name")
	kubectl := exec.CommandContext(t.Context(), programs.Kubectl, arguments...)
	kubectl.Dir = ".."
	output, err := kubectl.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	deleted := string(output)
	for _, kept := range []string{"customresourcedefinition", "oauth-operator-tokenserver", "oauth-operator-keep"} {
		if strings.Contains(deleted, kept) {
			t.Errorf("it takes what is to stay (%s):\n%s", kept, deleted)
		}
	}
	for _, gone := range []string{"clusterrole.rbac.authorization.k8s.io/oauth-operator-manager\n", "oauth-operator-manager-secrets"} {
		if !strings.Contains(deleted, gone) {
			t.Errorf("it leaves %s:\n%s", gone, deleted)
		}
	}
}
