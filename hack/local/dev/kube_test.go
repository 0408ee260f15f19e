package main

import (
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
)

func TestTheSecretOfAClientIsReadFromWhereItIsAndOneWithoutASecretIsSaidToHaveNone(t *testing.T) {
	cp, err := controlplane.Start(t.Context(), controlplane.Options{NoFsync: true, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cp.Stop)
	kube, err := newClient(cp.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]map[string]string{
		"written": {"client_secret": "of the operator", "client_id": "replaced by spec.secret.target.data"}, "source": {"value": "of the user"},
	} {
		if err := kube.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, StringData: data}); err != nil {
			t.Fatal(err)
		}
	}
	fromSecret := &v1alpha1.ClientSecret{FromSecret: &v1alpha1.SecretKeyReference{Name: "source", Key: "value"}}
	for what, test := range map[string]struct {
		method       v1alpha1.TokenEndpointAuthMethod
		secret       *v1alpha1.ClientSecret
		written      string
		want, refuse string
	}{
		"generated":               {v1alpha1.AuthMethodBasic, nil, "written", "of the operator", ""},
		"copied to a target":      {v1alpha1.AuthMethodPost, fromSecret, "written", "of the operator", ""},
		"from a Secret":           {v1alpha1.AuthMethodPost, fromSecret, "", "of the user", ""},
		"not written yet":         {v1alpha1.AuthMethodBasic, nil, "", "", "has no Secret yet"},
		"public":                  {v1alpha1.AuthMethodNone, nil, "", "", ""},
		"with a key of its own":   {v1alpha1.AuthMethodPrivateKey, nil, "", "", "authenticates by private_key_jwt, without a secret"},
		"by the workload's token": {v1alpha1.AuthMethodWorkloadIdentity, nil, "", "", "authenticates by WorkloadIdentity, without a secret"},
	} {
		c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shop"}}
		c.Spec.TokenEndpointAuthMethod, c.Spec.Secret, c.Status.SecretName = test.method, test.secret, test.written
		got, err := clientSecretOf(t.Context(), kube, c)
		if got != test.want || (err != nil) != (test.refuse != "") || err != nil && !strings.Contains(err.Error(), test.refuse) {
			t.Errorf("%s: the secret is %q (%v), want %q (%s)", what, got, err, test.want, test.refuse)
		}
	}
}
