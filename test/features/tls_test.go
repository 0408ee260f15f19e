package features

import (
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

func TestAnIssuerWithTLSServesTheCodeFlow(t *testing.T) {
	env := testenv.New(t, testenv.WithTLS)
	c := env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs: []string{env.Callback}, Scopes: []string{"openid", "profile", "email", "offline_access"},
	})
	checkCodeFlow(env, env.Config(c, "openid", "profile", "email", "offline_access"))
}

func TestACertificateIsReplacedWithoutARestart(t *testing.T) {
	env := testenv.New(t, testenv.WithTLS)
	server := testenv.Operator.Node.Replicas(env.ServerNamespace, "main")[0]
	before := server.PID()
	next := testenv.NewAuthority(t)
	certificate, key := next.Issue(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: "tls"}}
	env.Update(secret, func() { secret.StringData = map[string]string{"tls.crt": certificate, "tls.key": key} })

	env.HTTP.CloseIdleConnections()
	env.HTTP.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: next.CertPool(), MinVersion: tls.VersionTLS12}}
	env.Eventually("the new certificate", 10*time.Second, func() (bool, string) {
		response, err := env.HTTP.Get(env.Issuer + "/jwks")
		if err != nil {
			return false, err.Error()
		}
		return response.Body.Close() == nil && response.StatusCode == http.StatusOK, response.Status
	})
	if now := server.PID(); now != before {
		t.Errorf("the token server was restarted: it was process %d and is %d", before, now)
	}
}
