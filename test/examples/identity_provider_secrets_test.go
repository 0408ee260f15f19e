package examples

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

const (
	author = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: author, namespace: shop}
rules:
- {apiGroups: [oauth-operator.dev], resources: [identityproviders], verbs: [create, patch]}
- {apiGroups: [""], resources: [secrets], resourceNames: [acme], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: author, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: author}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: author}]
`
	namesSecret = `
apiVersion: oauth-operator.dev/v1alpha1
kind: IdentityProvider
metadata: {name: acme, namespace: shop}
spec:
  serverRef: {name: main}
  clients: Listed
  type: OIDC
  oidc: {issuer: https://login.acme.example, clientID: us, clientSecretRef: {name: acme, key: secret}}
  allow: "true"
`
)

func TestAnIdentityProviderNamesOnlyASecretThatItsAuthorMayRead(t *testing.T) {
	for _, manifest := range [][]byte{files(t)["identity-provider-secrets.yaml"], []byte(author)} {
		if err := plane.Apply(t.Context(), "examples", manifest); err != nil {
			t.Fatal(err)
		}
	}
	config, err := plane.ConfigForUser("author")
	if err != nil {
		t.Fatal(err)
	}
	user, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	providers := user.Resource(v1alpha1.GroupVersion.WithResource("identityproviders")).Namespace("shop")
	create := func(secret string) error {
		objects, err := controlplane.Decode([]byte(strings.Replace(namesSecret, "clientSecretRef: {name: acme", "clientSecretRef: {name: "+secret, 1)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = providers.Create(t.Context(), objects[0], metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	eventually.NoError(t, "the author's rights to be known", func() error { return create("acme") })
	eventually.True(t, "the policy to be in force", func() bool { return create("of-another") != nil })
	if err := create("of-another"); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `the Secret "of-another", which the IdentityProvider names, may not be read by author`) {
		t.Errorf("it says %v", err)
	}
	if err := create("acme"); err != nil {
		t.Errorf("a Secret that the author may read: %v", err)
	}
}
