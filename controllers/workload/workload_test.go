package workload

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// go test ./controllers/workload -update writes the objects of today over the golden files.
var update = flag.Bool("update", false, "write the golden files")

func server(name string) *v1alpha1.AuthorizationServer {
	return &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: "identity", Name: name, UID: "11111111-1111-1111-1111-111111111111"},
		Spec:       v1alpha1.AuthorizationServerSpec{Issuer: "https://auth.example.com"},
	}
}

func TestTheTokenServerOfAServerIsMadeOfTheseObjects(t *testing.T) {
	for file, object := range map[string]any{
		"testdata/serviceaccount.yaml": ServiceAccount(server("main")),
		"testdata/rolebinding.yaml":    RoleBinding(server("main")),
	} {
		got, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs (-update writes it): %v\ngot:\n%s\nwant:\n%s", file, err, got, want)
		}
	}
}

// The manager may bind one role, and the token server may use it in its own namespace: whoever changes the name or the kind here changes what a
// token server may do.
func TestATokenServerGetsTheOneRoleWithinItsNamespaceOnly(t *testing.T) {
	binding, account := RoleBinding(server("main")), ServiceAccount(server("main"))
	if binding.RoleRef.Kind != "ClusterRole" || binding.RoleRef.Name != "oauth-operator-tokenserver" || binding.Namespace != "identity" {
		t.Errorf("%+v in %s", binding.RoleRef, binding.Namespace)
	}
	if len(binding.Subjects) != 1 || binding.Subjects[0].Kind != "ServiceAccount" || binding.Subjects[0].Name != account.Name ||
		binding.Subjects[0].Namespace != account.Namespace {
		t.Errorf("%+v for %s/%s", binding.Subjects, account.Namespace, account.Name)
	}
}

func TestTheNamesOfTheObjectsOfTheLongestNameAreValid(t *testing.T) {
	longest := strings.Repeat("a", 40)
	for _, name := range []string{ServiceAccountName(longest), KeysSecretName(longest)} {
		if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
			t.Errorf("%s: %s", name, problems)
		}
	}
	for key, value := range Labels(longest) {
		if problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(problems) > 0 {
			t.Errorf("label %s: %s: %s", key, value, problems)
		}
	}
}

func TestTwoServersShareNoObject(t *testing.T) {
	a, b := server("main"), server("main-tokenserver")
	if ServiceAccount(a).Name == ServiceAccount(b).Name || KeysSecretName(a.Name) == KeysSecretName(b.Name) || KeysSecretName(a.Name) == ServiceAccountName(a.Name) {
		t.Error("two objects have one name")
	}
}
