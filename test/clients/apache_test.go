//go:build apache

package clients

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/process"
	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// modules is where Debian and its likes put Apache's modules.
const modules = "/usr/lib/apache2/modules"

// unprivilegedUID is the user of Apache where the tests run as root.
const unprivilegedUID = 65534

// apacheConfig is for one process without privileges. Its arguments: directory, port, modules,
// issuer, client id, secret.
const apacheConfig = `
ServerRoot %[1]s
ServerName 127.0.0.1
Listen 127.0.0.1:%[2]d
PidFile %[1]s/pid
DefaultRuntimeDir %[1]s
Mutex file:%[1]s
ErrorLog %[1]s/error.log
LogLevel info
LoadModule mpm_event_module %[3]s/mod_mpm_event.so
LoadModule authn_core_module %[3]s/mod_authn_core.so
LoadModule authz_core_module %[3]s/mod_authz_core.so
LoadModule authz_user_module %[3]s/mod_authz_user.so
LoadModule headers_module %[3]s/mod_headers.so
LoadModule auth_openidc_module %[3]s/mod_auth_openidc.so
DocumentRoot %[1]s/htdocs

OIDCProviderMetadataURL %[4]s/.well-known/openid-configuration
OIDCCABundlePath %[1]s/ca.crt
OIDCSSLValidateServer On
OIDCClientID %[5]s
OIDCClientSecret %[6]s
OIDCProviderTokenEndpointAuth client_secret_basic
OIDCRedirectURI http://127.0.0.1:%[2]d/callback
OIDCCryptoPassphrase "only this process reads its cookies"
OIDCScope "openid email profile offline_access"
OIDCPKCEMethod S256
OIDCRemoteUserClaim email
OIDCInfoHook id_token userinfo access_token refresh_token
<Location "/callback">
  AuthType openid-connect
  Require valid-user
</Location>
<Location "/private">
  AuthType openid-connect
  Require valid-user
  Header set X-User "expr=%%{REMOTE_USER}"
</Location>
<Location "/bye">
  Require all granted
</Location>
`

// apache is a web server whose /private is for users of the Env's issuer.
type apache struct {
	env  *testenv.Env
	base string
}

func (a *apache) private() string  { return a.base + "/private/index.html" }
func (a *apache) callback() string { return a.base + "/callback" }

// startApache starts a web server that is the client.
func startApache(env *testenv.Env, port int, c *v1alpha1.OAuthClient) *apache {
	t := env.T
	t.Helper()
	program, err := exec.LookPath("apache2")
	if err != nil {
		program = "/usr/sbin/apache2" // which is not in everybody's path
	}
	dir, err := os.MkdirTemp("", "apache-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	secret := env.SecretOf(c)
	files := map[string]string{
		"ca.crt": string(env.Authority.PEM),
		"apache.conf": fmt.Sprintf(apacheConfig, dir, port, modules, secret.Data["issuer"], secret.Data["client_id"],
			secret.Data["client_secret"]),
		"htdocs/private/index.html": "for users\n",
		"htdocs/bye":                "good-bye\n",
	}
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	command := process.Command{Path: program, Args: []string{"-X", "-f", filepath.Join(dir, "apache.conf")}, Output: t.Output()}
	if os.Getuid() == 0 {
		command.Credential = &syscall.Credential{Uid: unprivilegedUID, Gid: unprivilegedUID}
		if err := os.Chown(dir, unprivilegedUID, unprivilegedUID); err != nil {
			t.Fatal(err)
		}
	}
	p, err := process.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop(5 * time.Second)
		if said, err := os.ReadFile(filepath.Join(dir, "error.log")); t.Failed() && err == nil {
			t.Logf("Apache says:\n%s", said)
		}
	})
	a := &apache{env: env, base: fmt.Sprintf("http://127.0.0.1:%d", port)}
	env.Eventually("Apache", 20*time.Second, func() (bool, string) {
		response, err := http.Get(a.base + "/bye")
		if err != nil {
			return false, err.Error()
		}
		return response.Body.Close() == nil && response.StatusCode == http.StatusOK, response.Status
	})
	return a
}

// get opens a page and follows no redirect.
func (a *apache) get(b *browser.Browser, address string) browser.Page {
	a.env.T.Helper()
	request, err := browser.NewRequest(a.env.T.Context(), http.MethodGet, address, nil)
	if err != nil {
		a.env.T.Fatal(err)
	}
	page, err := b.DoOnce(request)
	if err != nil {
		a.env.T.Fatal(err)
	}
	return page
}

// session is what the web server knows of the person who is signed in.
type session struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	IDToken      struct {
		Subject string `json:"sub"`
	} `json:"id_token"`
	UserInfo struct {
		Email string `json:"email"`
		Name  string `json:"name"`
	} `json:"userinfo"`
}

func (a *apache) session(b *browser.Browser) session {
	a.env.T.Helper()
	info := a.get(b, a.callback()+"?info=json")
	var s session
	if err := json.Unmarshal([]byte(info.Body), &s); err != nil {
		a.env.T.Fatalf("%v: %q", err, info.Body)
	}
	return s
}

func TestApacheSignsAUserInRefreshesAndSignsOut(t *testing.T) {
	env := testenv.New(t, testenv.WithTLS)
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	c := env.ReadyClient("apache", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs:           []string{fmt.Sprintf("http://127.0.0.1:%d/callback", port)},
		PostLogoutRedirectURIs: []string{fmt.Sprintf("http://127.0.0.1:%d/bye", port)},
		Scopes:                 []string{"openid", "email", "profile", "offline_access"},
	})
	a := startApache(env, port, c)
	alice := browser.New(env.HTTP.Transport, "")

	if got := a.get(alice, a.private()); got.StatusCode != http.StatusFound || !strings.HasPrefix(got.At.String(), env.Issuer) {
		t.Fatalf("a stranger is answered %d and sent to %s", got.StatusCode, got.At)
	}
	if _, err := alice.SignIn(t.Context(), a.private(), testenv.Username, testenv.Password); err != nil {
		t.Fatal(err)
	}
	if got := a.get(alice, a.private()); got.StatusCode != http.StatusOK || got.Body != "for users\n" || got.Header.Get("X-User") != testenv.Email {
		t.Fatalf("after signing in: %d for %q", got.StatusCode, got.Header.Get("X-User"))
	}
	before := a.session(alice)
	if before.IDToken.Subject != testenv.Subject || before.UserInfo.Email != testenv.Email || before.UserInfo.Name == "" {
		t.Errorf("Apache knows %+v", before)
	}

	a.get(alice, a.callback()+"?"+url.Values{"refresh": {a.private()}, "access_token": {before.AccessToken}}.Encode())
	after := a.session(alice)
	if after.AccessToken == before.AccessToken || after.RefreshToken != before.RefreshToken {
		t.Error("want another access token, and the refresh token that a confidential client keeps")
	}
	config := env.Config(c)
	if !env.IsActive(config, after.AccessToken) || !env.IsActive(config, after.RefreshToken) {
		t.Error("the tokens that Apache has now are inactive")
	}

	// It takes its tokens back, and sends the browser to the issuer to sign out there too, which
	// sends it on.
	out := a.get(alice, a.callback()+"?"+url.Values{"logout": {a.base + "/bye"}}.Encode())
	if out.StatusCode != http.StatusFound || !strings.HasPrefix(out.At.String(), env.Issuer+"/logout") {
		t.Fatalf("the logout is answered %d and goes on at %s", out.StatusCode, out.At)
	}
	if env.IsActive(config, after.AccessToken) || env.IsActive(config, after.RefreshToken) {
		t.Error("Apache has revoked its tokens, and they are active")
	}
	if page := env.Open(alice, out.At.String()); page.URL != a.base+"/bye" {
		t.Errorf("the browser ends at %s", page.URL)
	}
	if page := env.Open(alice, a.private()); !page.IsLogin() {
		t.Errorf("after signing out she is not asked to sign in, but at %s", page.URL)
	}
}
