package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/explain"
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
	env.Update(c, func() {
		c.Spec.Secret = &v1alpha1.ClientSecret{Source: "Generate", Target: &v1alpha1.SecretTarget{Name: "service-oauth", Data: map[string]string{"issuer": "https://127.0.0.1:1"}}}
	})
	env.Eventually("the Secret to have another issuer", eventuallyTimeout, func() (bool, string) {
		return string(env.SecretOf(c).Data["issuer"]) == "https://127.0.0.1:1", ""
	})
	if text := developer.fail(exitFailed, "token", "client/service"); !strings.Contains(text, "finding the issuer, which --issuer may name: you may not get authorizationservers") {
		t.Errorf("the secret would go where an OAuthClient says: %s", text)
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

func TestAWorkloadsClientGetsATokenByATokenOfItsServiceAccount(t *testing.T) {
	env := testenv.New(t, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.WorkloadIssuers = []v1alpha1.WorkloadIssuer{{Name: "cluster", Type: v1alpha1.WorkloadIssuerKubernetes}}
	})
	for _, name := range []string{"billing", "billing-jobs"} {
		env.Create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: env.AppNamespace, Name: name}})
	}
	identity := func(name string) v1alpha1.WorkloadIdentity {
		return v1alpha1.WorkloadIdentity{ServiceAccount: &v1alpha1.ServiceAccountIdentity{Name: name}}
	}
	c := env.ReadyClient("billing", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: v1alpha1.AuthMethodWorkloadIdentity,
		WorkloadIdentities: []v1alpha1.WorkloadIdentity{identity("billing")}, ConfigMap: &v1alpha1.ConfigMapTarget{Name: "billing-oauth"},
	})
	p := newPerson(env, "developer").may(env.AppNamespace, "get oauthclients configmaps")
	if text := p.fail(exitFailed, "token", "client/billing"); !strings.Contains(text, `you may not create serviceaccounts/token "billing" in namespace "`+env.AppNamespace+`"`) {
		t.Errorf("it says %s", text)
	}
	p.may(env.AppNamespace, "create serviceaccounts/token")
	if out := p.succeed("token", "client/billing"); !strings.HasPrefix(out, "eyJ") { // the issuer is in the ConfigMap
		t.Errorf("it prints %s", out)
	}
	if a := explainJSON(admin(env), 0, "client/billing"); a.GrantTypes[0].Succeeds != explain.Yes {
		t.Errorf("explain: %+v", a)
	}
	env.Update(c, func() { c.Spec.WorkloadIdentities = append(c.Spec.WorkloadIdentities, identity("billing-jobs")) })
	if text := p.fail(exitUsage, "token", "client/billing"); !strings.Contains(text, "choose one of ["+env.AppNamespace+"/billing "+env.AppNamespace+"/billing-jobs] with --service-account") {
		t.Errorf("it says %s", text)
	}
	env.Eventually("the other ServiceAccount to be the client too", eventuallyTimeout, func() (bool, string) {
		r := p.run("token", "client/billing", "--service-account", "billing-jobs")
		return r.status == 0, r.errOut
	})
	if text := p.fail(exitFailed, "token", "client/billing", "--service-account", "another"); !strings.Contains(text, "does not list the ServiceAccount another") {
		t.Errorf("it says %s", text)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("eyJ.no.jwt\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text := p.fail(exitFailed, "token", "client/billing", "--client-assertion-file", file); !strings.Contains(text, "invalid_client") {
		t.Errorf("a token that is none: %s", text)
	}
}
