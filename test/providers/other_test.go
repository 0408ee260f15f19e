package providers

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/process"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// startOther starts the provider that is not ours. It returns its issuer, the certificate of its
// authority, and a transport that trusts that as well as the server.
func startOther(t *testing.T, s *server) (issuer, bundle string, transport *http.Transport) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "openid-provider")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, ".")
	build.Dir = filepath.Join("..", "..", "hack", "tools", "openid-provider")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the provider: %v\n%s", err, output)
	}
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	authority := testenv.NewAuthority(t)
	certificate, key := authority.Issue(t)
	files := map[string]string{"tls.crt": certificate, "tls.key": key}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	p, err := process.Start(process.Command{
		Path: program, Output: t.Output(), Env: []string{"CLIENT_SECRET=" + secret},
		Args: []string{
			"-address=" + address, "-certificate=" + filepath.Join(dir, "tls.crt"), "-key=" + filepath.Join(dir, "tls.key"),
			"-client-id=" + clientID, "-redirect-uri=" + s.callback("other"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(5 * time.Second) })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.PEM)
	roots.AddCert(s.HTTP.Certificate())
	transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	issuer = "https://" + address + "/"
	eventually.True(t, "the provider answers", func() bool {
		response, err := (&http.Client{Transport: transport}).Get(issuer + ".well-known/openid-configuration")
		return err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK
	})
	return issuer, string(authority.PEM), transport
}

func TestAUserSignsInAtAProviderThatIsNotOurs(t *testing.T) {
	s := newServer(t)
	issuer, bundle, transport := startOther(t, s)
	s.signInAt(documents.IdentityProvider{
		Name: "other", CABundle: bundle, Allow: `upstream.email.endsWith("@zitadel.ch") && upstream.email_verified`,
		Claims: map[string]string{"preferred_username": "upstream.preferred_username", "email": "upstream.email"},
		OIDC:   &documents.OIDCProvider{Issuer: issuer, Scopes: []string{"profile", "email"}, UserInfo: true},
	})
	v := newVisitor(t, transport)
	page := v.get(s.request("max_age", "600"))
	if !strings.HasPrefix(page.URL, issuer) {
		t.Fatalf("at %s: %d %s", page.At, page.StatusCode, page.Body)
	}
	page = v.fillIn(page, "username", "test-user@127.0.0.1", "password", "verysecure")
	if !strings.Contains(page.Body, "test-user@127.0.0.1") {
		t.Errorf("the consent page does not name the user: %s", page.Body)
	}
	claims := v.allow(s, page)
	if claims["identity_provider"] != "other" || claims["auth_time"] == nil {
		t.Errorf("the ID token says %v", claims)
	}
}
