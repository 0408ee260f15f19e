package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/issuer"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

const eventuallyTimeout = 30 * time.Second

func TestATokenIsPrintedAloneToUsersWhoMayReadTheSecret(t *testing.T) {
	env := testenv.New(t, testenv.WithTLS)
	env.ReadyAPI(orders, []string{"orders:read", "orders:write"})
	spec := service
	spec.Scopes = []string{"orders:read", "orders:write"}
	c := env.ReadyClient("service", spec)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, env.Authority.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	developer := newPerson(env, "developer").may(env.AppNamespace, "get oauthclients")
	text := developer.fail(exitFailed, "token", "client/service", "--issuer-certificate-authority", authority)
	if want := `you may not get secrets "service-oauth" in namespace "` + env.AppNamespace + `": ask for a Role with the verb get on secrets`; !strings.Contains(text, want) {
		t.Errorf("it says %s", text)
	}
	developer.may(env.AppNamespace, "get secrets") // and not the server: the Secret has the issuer
	config := env.Config(c)
	if r := developer.run("token", "client/service", "--issuer-certificate-authority", authority); r.status != 0 || r.errOut != "" || strings.Count(r.out, "\n") != 1 || !env.IsActive(config, strings.TrimSpace(r.out)) {
		t.Errorf("status %d, %q %s", r.status, r.out, r.errOut)
	}
	answer := decodeJSON[issuer.Tokens](t, developer.succeed("token", "client/service", "-o", "json", "--scope", "orders:write", "--resource", orders, "--issuer-certificate-authority", authority))
	if answer.Scope != "orders:write" || answer.TokenType != "Bearer" || answer.ExpiresIn != 300 {
		t.Errorf("the answer is %+v", answer)
	}
	text = developer.fail(exitFailed, "token", "client/service", "--scope", "orders:delete", "--issuer-certificate-authority", authority)
	if !strings.Contains(text, "invalid_scope") || !strings.Contains(text, "kubectl oauth explain client/service") {
		t.Errorf("it says %s", text)
	}
	if text := developer.fail(exitFailed, "token", "client/service"); !strings.Contains(text, "--issuer-certificate-authority") {
		t.Errorf("an authority that is not known: %s", text)
	}
	if text := developer.fail(exitFailed, "token", "client/service", "--issuer", "http://auth.example.com"); !strings.Contains(text, "neither https nor at a loopback address") {
		t.Errorf("a secret would go over plain http: %s", text)
	}
}

func TestAUsersPasswordAndARefreshTokenGetTokens(t *testing.T) {
	env := testenv.New(t)
	env.ReadyClient("legacy", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"password", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_post", Scopes: []string{"openid"},
	})
	p := admin(env)
	r := p.runWith(t.Context(), testenv.Password+"\n", "token", "client/legacy", "--username", testenv.Username, "--password-stdin", "--scope", "openid", "-o", "json")
	if r.status != 0 {
		t.Fatalf("status %d: %s", r.status, r.errOut)
	}
	first := decodeJSON[issuer.Tokens](t, r.out)
	file := filepath.Join(t.TempDir(), "refresh")
	if err := os.WriteFile(file, []byte(first.RefreshToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(p.succeed("token", "client/legacy", "--refresh-token-file", file, "--scope", "openid"))
	if status, _ := env.Get("/userinfo", token); status != http.StatusOK || token == first.AccessToken {
		t.Errorf("userinfo answers %d", status)
	}
	r = p.runWith(t.Context(), "wrong\n", "token", "client/legacy", "--username", testenv.Username, "--password-stdin")
	if r.status != exitFailed || !strings.Contains(r.errOut, "invalid_grant") || strings.Contains(r.errOut, "wrong\n") {
		t.Errorf("status %d: %s", r.status, r.errOut)
	}
	if text := p.fail(exitFailed, "token", "client/legacy"); !strings.Contains(text, "does not list client_credentials") || !strings.Contains(text, "--username") {
		t.Errorf("it says %s", text)
	}
	if text := p.fail(exitUsage, "token", "client/legacy", "--username", "alice"); !strings.Contains(text, "--password-stdin") {
		t.Errorf("without a terminal: %s", text)
	}
}
