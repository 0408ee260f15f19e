package testenv

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
)

// TrustedPrefix is what the API server of a TrustingCluster puts before the names and groups that ID
// tokens say.
const TrustedPrefix = "main:"

// TrustingCluster starts another cluster, whose API server takes the ID tokens of the Env's issuer
// for one client. It takes users by their email and groups.
func (e *Env) TrustingCluster(audience string) *controlplane.ControlPlane {
	t := e.T
	t.Helper()
	claim := func(name string) map[string]any { return map[string]any{"claim": name, "prefix": TrustedPrefix} }
	config, err := json.Marshal(map[string]any{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
		"jwt": []any{map[string]any{
			"issuer":        map[string]any{"url": e.Issuer, "audiences": []string{audience}, "certificateAuthority": string(e.Authority.PEM)},
			"claimMappings": map[string]any{"username": claim("email"), "groups": claim("groups")},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "authentication.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cluster, err := controlplane.Start(t.Context(), controlplane.Options{NoFsync: true, APIServerArgs: []string{"--authentication-config=" + file}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)
	return cluster
}

// As returns a client of the cluster with a bearer token and nothing else.
func As(t testing.TB, cluster *controlplane.ControlPlane, token string) kubernetes.Interface {
	t.Helper()
	admin := cluster.AdminConfig()
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: admin.Host, TLSClientConfig: rest.TLSClientConfig{CAData: admin.CAData}, BearerToken: token, QPS: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// WhoIs returns whom the API server takes the client for.
func WhoIs(t testing.TB, client kubernetes.Interface) (authenticationv1.UserInfo, error) {
	t.Helper()
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	return review.Status.UserInfo, nil
}
