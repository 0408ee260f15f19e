package features

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// clientSecret is what the owners of the two servers have agreed upon.
const clientSecret = "0123456789abcdef0123456789abcdef"

// bridge is two AuthorizationServers, where users of the first sign in to clients of the second.
type bridge struct {
	upstream, env *testenv.Env
	provider      *v1alpha1.IdentityProvider
	secret        *corev1.Secret // of the provider
	transport     *http.Transport
}

// newBridge creates the servers, and the IdentityProvider as its documentation says. The changes are
// made to the second server.
func newBridge(t *testing.T, changes ...func(*v1alpha1.AuthorizationServer)) *bridge {
	t.Helper()
	b := &bridge{
		upstream: testenv.New(t, testenv.WithTLS),
		env: testenv.New(t, append(changes, testenv.WithTLS, func(s *v1alpha1.AuthorizationServer) {
			s.Spec.Fetch = &v1alpha1.FetchSettings{AllowedNetworks: []string{"127.0.0.1/32"}}
		})...),
	}
	roots := x509.NewCertPool()
	for _, env := range []*testenv.Env{b.upstream, b.env} {
		roots.AppendCertsFromPEM(env.Authority.PEM)
	}
	b.transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(b.transport.CloseIdleConnections)

	secret := func(namespace string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "bridge"}, StringData: map[string]string{"secret": clientSecret}}
	}
	b.upstream.Create(secret(b.upstream.AppNamespace))
	client := b.upstream.ReadyClient("bridge", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code"}, TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs: []string{b.env.Issuer + "/callback/acme"}, Scopes: []string{"openid", "profile", "email", "groups"},
		IDTokenClaims: []string{"name", "email", "groups"}, Consent: "Skip",
		Secret: &v1alpha1.ClientSecret{Source: v1alpha1.SecretFromSecret, FromSecret: &v1alpha1.SecretKeyReference{Name: "bridge", Key: "secret"}},
	})

	b.secret = secret(b.env.ServerNamespace)
	b.env.Create(b.secret)
	b.env.Create(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.env.ServerNamespace, Name: "roots"}, Data: map[string]string{"ca.crt": string(b.upstream.Authority.PEM)},
	})
	b.provider = &v1alpha1.IdentityProvider{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.env.ServerNamespace, Name: "acme"},
		Spec: v1alpha1.IdentityProviderSpec{
			ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Clients: v1alpha1.ProviderClientsListed, Type: v1alpha1.ProviderOIDC,
			OIDC: &v1alpha1.OIDCProviderSettings{
				Issuer: b.upstream.Issuer, ClientID: client.Status.ClientID, ClientSecretRef: v1alpha1.SecretKeyReference{Name: "bridge", Key: "secret"},
				Scopes: []string{"profile", "email", "groups"},
			},
			CABundle: &v1alpha1.CABundle{ConfigMapRef: v1alpha1.ConfigMapKeyReference{Name: "roots", Key: "ca.crt"}},
			Allow:    `"admins" in upstream.groups`,
			Claims: map[string]v1alpha1.Expression{
				"name": "upstream.name", "email": "upstream.email", "groups": `upstream.groups.map(g, "acme:" + g)`,
			},
		},
	}
	b.env.Create(b.provider)
	b.waitReady()
	b.env.Update(b.env.Server, func() {
		rule := &b.env.Server.Spec.AllowedClients[0]
		rule.IdentityProviders, rule.Groups = []string{"acme"}, []string{"acme:admins"}
	})
	b.env.WaitFor("the rule to be in force", b.env.Server, func() bool {
		return testenv.IsTrue(b.env.Server.Status.Conditions, v1alpha1.ConditionReady) && b.env.Server.Status.ObservedGeneration == b.env.Server.Generation
	})
	return b
}

func (b *bridge) waitReady() {
	b.env.T.Helper()
	b.env.WaitFor("the IdentityProvider to be Ready", b.provider, func() bool {
		return testenv.IsTrue(b.provider.Status.Conditions, v1alpha1.ConditionReady) && b.provider.Status.ObservedGeneration == b.provider.Generation
	})
}

// signIn signs alice in at the first server, in a new browser, and returns where that is then.
func (b *bridge) signIn(address string) browser.Page {
	b.env.T.Helper()
	page, err := browser.New(b.transport, "https://127.0.0.1:").SignIn(b.env.T.Context(), address, testenv.Username, testenv.Password)
	if err != nil {
		b.env.T.Fatal(err)
	}
	return page
}

// tokens signs in to a client and returns its tokens, and the claims of the ID token.
func (b *bridge) tokens(config *oauth2.Config) (*oauth2.Token, map[string]any) {
	t := b.env.T
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	page := b.signIn(config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(verifier)))
	if !strings.HasPrefix(page.At.String(), b.env.Callback) || page.Values().Get("code") == "" {
		t.Fatalf("the browser is at %s: %s", page.At, page.Body)
	}
	token, err := config.Exchange(b.env.Context(), page.Values().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	provider, err := oidc.NewProvider(b.env.Context(), b.env.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := token.Extra("id_token").(string)
	idToken, err := provider.Verifier(&oidc.Config{ClientID: config.ClientID}).Verify(b.env.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{}
	if err := idToken.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	return token, claims
}

func (b *bridge) webClient() *oauth2.Config { return b.webClientNamed("web") }

func (b *bridge) webClientNamed(name string) *oauth2.Config {
	return b.env.Config(b.env.ReadyClient(name, v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs: []string{b.env.Callback}, Scopes: []string{"openid", "profile", "email", "groups"}, IDTokenClaims: []string{"email", "groups"},
	}), "openid", "profile", "email", "groups")
}

func TestAUserOfOneServerSignsInToAClientOfAnother(t *testing.T) {
	b := newBridge(t)
	if want := b.env.Issuer + "/callback/acme"; b.provider.Status.RedirectURI != want {
		t.Errorf("the redirect URI is %q, want %q", b.provider.Status.RedirectURI, want)
	}
	config := b.webClient()
	token, claims := b.tokens(config)
	subject, _ := claims["sub"].(string)
	groups, _ := claims["groups"].([]any)
	if len(subject) != 44 || subject[0] != '~' || claims["identity_provider"] != "acme" || claims["email"] != testenv.Email ||
		claims["email_verified"] != false || len(groups) != 1 || groups[0] != "acme:"+testenv.Group {
		t.Errorf("the ID token says %v", claims)
	}
	identity := &v1alpha1.OAuthIdentity{ObjectMeta: metav1.ObjectMeta{Namespace: b.env.ServerNamespace, Name: v1alpha1.OAuthIdentityName(subject)}}
	b.env.WaitFor("the record of the user", identity, func() bool { return identity.Status.Provider == "acme" && identity.Spec.Subject == subject })

	b.env.Update(b.provider, func() { b.provider.Spec.Suspended = true })
	inactiveWithinASecond(b.env, config, token.AccessToken)
	b.env.Update(b.provider, func() { b.provider.Spec.Suspended = false })
	b.env.Eventually("the token to be good again", 5*time.Second, func() (bool, string) { return b.env.IsActive(config, token.AccessToken), "it is not" })
	if _, again := b.tokens(config); again["sub"] != subject {
		t.Errorf("the same user is %v and was %s", again["sub"], subject)
	}
	b.env.Delete(b.provider)
	inactiveWithinASecond(b.env, config, token.AccessToken)
}

func TestAnotherClientSecretIsUsedWithoutARestart(t *testing.T) {
	b := newBridge(t)
	config := b.webClient()
	replica := testenv.Operator.Node.Replicas(b.env.ServerNamespace, "main")[0]
	before := replica.PID()
	theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.upstream.AppNamespace, Name: "bridge"}}
	for env, secret := range map[*testenv.Env]*corev1.Secret{b.upstream: theirs, b.env: b.secret} {
		env.Update(secret, func() { secret.StringData = map[string]string{"secret": strings.ToUpper(clientSecret)} })
	}
	b.env.WaitFor("the token server to hold it", b.provider, func() bool {
		return testenv.IsTrue(b.provider.Status.Conditions, v1alpha1.ConditionReady)
	})
	if _, claims := b.tokens(config); claims["identity_provider"] != "acme" {
		t.Errorf("the ID token says %v", claims)
	}
	if now := replica.PID(); now != before {
		t.Errorf("the token server was restarted: it was process %d and is %d", before, now)
	}
}

func TestAUserWhomAllowRefusesHasNoSession(t *testing.T) {
	b := newBridge(t)
	config := b.webClient()
	b.env.Update(b.provider, func() { b.provider.Spec.Allow = `"operators" in upstream.groups` })
	b.waitReady()
	if page := b.signIn(config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))); strings.HasPrefix(page.At.String(), b.env.Callback) {
		t.Errorf("the browser is at %s", page.At)
	}
	var identities v1alpha1.OAuthIdentityList
	if err := testenv.Kube.List(t.Context(), &identities); err != nil {
		t.Fatal(err)
	}
	for _, identity := range identities.Items {
		if identity.Namespace == b.env.ServerNamespace {
			t.Errorf("there is a record of %s", identity.Spec.Subject)
		}
	}
}
