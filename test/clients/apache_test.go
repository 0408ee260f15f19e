//go:build apache

package clients

import (
	"encoding/json"
	"fmt"
	"io"
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
	"github.com/oauth-operator/oauth-operator/test/person"
	"github.com/oauth-operator/oauth-operator/test/world"
)

// modules is where Debian and its likes put Apache's modules.
const modules = "/usr/lib/apache2/modules"

// nobody is whom Apache runs as where the tests run as root.
const nobody = 65534

// apacheConfig is for one process without privileges. Its arguments: directory, port, modules, issuer, client id, secret.
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

// apache is a web server whose /private is for users of the World's issuer.
type apache struct {
	w    *world.World
	base string
}

func (a *apache) private() string  { return a.base + "/private/index.html" }
func (a *apache) callback() string { return a.base + "/callback" }

// startApache starts a web server that is the client.
func startApache(w *world.World, port int, c *v1alpha1.OAuthClient) *apache {
	t := w.T
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
	secret := w.Secret(c)
	files := map[string]string{
		"ca.crt": string(w.Authority.PEM),
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
		command.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(dir, nobody, nobody); err != nil {
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
	a := &apache{w: w, base: fmt.Sprintf("http://127.0.0.1:%d", port)}
	w.Eventually("Apache", 20*time.Second, func() (bool, string) {
		response, err := http.Get(a.base + "/bye")
		if err != nil {
			return false, err.Error()
		}
		return response.Body.Close() == nil && response.StatusCode == http.StatusOK, response.Status
	})
	return a
}

// page is what the web server answers: its status, where it sends the browser, for whom the page is, and the page.
type page struct {
	status               int
	location, user, body string
}

// get asks the web server as the browser would, but follows no redirect.
func (a *apache) get(browser *http.Client, address string) page {
	a.w.T.Helper()
	request, err := http.NewRequestWithContext(a.w.T.Context(), http.MethodGet, address, nil)
	if err != nil {
		a.w.T.Fatal(err)
	}
	request.Header.Set("Accept", person.Accept)
	response, err := browser.Do(request)
	if err != nil {
		a.w.T.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		a.w.T.Fatal(err)
	}
	return page{response.StatusCode, response.Header.Get("Location"), response.Header.Get("X-User"), string(body)}
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

func (a *apache) session(browser *http.Client) session {
	a.w.T.Helper()
	info := a.get(browser, a.callback()+"?info=json")
	var s session
	if err := json.Unmarshal([]byte(info.body), &s); err != nil {
		a.w.T.Fatalf("%v: %q", err, info.body)
	}
	return s
}

func TestApacheSignsAUserInRefreshesAndSignsOut(t *testing.T) {
	w := world.New(t, world.HTTPS)
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	c := w.Client("apache", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs:           []string{fmt.Sprintf("http://127.0.0.1:%d/callback", port)},
		PostLogoutRedirectURIs: []string{fmt.Sprintf("http://127.0.0.1:%d/bye", port)},
		Scopes:                 []string{"openid", "email", "profile", "offline_access"},
	})
	a := startApache(w, port, c)
	alice := w.Browser()
	browser := alice.Client()

	if got := a.get(browser, a.private()); got.status != http.StatusFound || !strings.HasPrefix(got.location, w.Issuer) {
		t.Fatalf("a stranger is answered %d and sent to %s", got.status, got.location)
	}
	if err := alice.SignIn(a.private(), w.Issuer, world.Username, world.Password); err != nil {
		t.Fatal(err)
	}
	if got := a.get(browser, a.private()); got.status != http.StatusOK || got.body != "for users\n" || got.user != world.Email {
		t.Fatalf("after signing in: %d for %q", got.status, got.user)
	}
	before := a.session(browser)
	if before.IDToken.Subject != world.Subject || before.UserInfo.Email != world.Email || before.UserInfo.Name == "" {
		t.Errorf("Apache knows %+v", before)
	}

	a.get(browser, a.callback()+"?"+url.Values{"refresh": {a.private()}, "access_token": {before.AccessToken}}.Encode())
	after := a.session(browser)
	if after.AccessToken == before.AccessToken || after.RefreshToken == before.RefreshToken {
		t.Error("want another access token and another refresh token")
	}
	config := w.Config(c)
	if !w.Active(config, after.AccessToken) || !w.Active(config, after.RefreshToken) {
		t.Error("the tokens that Apache has now are inactive")
	}

	// It takes its tokens back, and sends the browser to the issuer to sign out there too, which sends it on.
	out := a.get(browser, a.callback()+"?"+url.Values{"logout": {a.base + "/bye"}}.Encode())
	if out.status != http.StatusFound || !strings.HasPrefix(out.location, w.Issuer+"/logout") {
		t.Fatalf("the logout is answered %d and goes on at %s", out.status, out.location)
	}
	if w.Active(config, after.AccessToken) || w.Active(config, after.RefreshToken) {
		t.Error("Apache has revoked its tokens, and they are active")
	}
	if _, err := alice.Do(http.MethodGet, out.location, nil); err != nil || alice.At.String() != a.base+"/bye" {
		t.Errorf("the browser ends at %s (%v)", alice.At, err)
	}
	if asked, err := alice.Do(http.MethodGet, a.private(), nil); err != nil || person.Find(asked, "login-submit") == nil {
		t.Errorf("after signing out she is not asked to sign in, but at %s (%v)", alice.At, err)
	}
}
