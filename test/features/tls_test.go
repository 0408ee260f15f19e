package features

import (
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/world"
)

func TestAnIssuerWithTLSServesTheCodeFlow(t *testing.T) {
	w := world.New(t, world.HTTPS)
	c := w.Client("web", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs: []string{w.Callback}, Scopes: []string{"openid", "profile", "email", "offline_access"},
	})
	codeFlow(w, w.Config(c, "openid", "profile", "email", "offline_access"))
}

func TestACertificateIsReplacedWithoutARestart(t *testing.T) {
	w := world.New(t, world.HTTPS)
	server := world.Operator.Node.Replicas(w.Identity, "main")[0]
	before := server.PID()
	next := world.NewAuthority(t)
	certificate, key := next.Issue(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Identity, Name: "tls"}}
	w.Update(secret, func() { secret.StringData = map[string]string{"tls.crt": certificate, "tls.key": key} })

	w.HTTP.CloseIdleConnections()
	w.HTTP.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: next.Roots(), MinVersion: tls.VersionTLS12}}
	w.Eventually("the new certificate", 10*time.Second, func() (bool, string) {
		response, err := w.HTTP.Get(w.Issuer + "/jwks")
		if err != nil {
			return false, err.Error()
		}
		return response.Body.Close() == nil && response.StatusCode == http.StatusOK, response.Status
	})
	if now := server.PID(); now != before {
		t.Errorf("the token server was restarted: it was process %d and is %d", before, now)
	}
}
