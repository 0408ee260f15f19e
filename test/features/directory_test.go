//go:build ldap

package features

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap/ldaptest"
)

func TestAUserOfADirectorySignsInByTheManifestOfItsPage(t *testing.T) {
	directory := ldaptest.Start(t)
	env := testenv.New(t, testenv.WithTLS, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Fetch = &v1alpha1.FetchSettings{AllowedNetworks: []string{"127.0.0.1/32"}}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(env.Authority.PEM)
	b := &bridge{env: env, transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	t.Cleanup(b.transport.CloseIdleConnections)
	env.Create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: "ldap"}, StringData: map[string]string{"password": ldaptest.BindPassword}})
	env.Create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: "roots"}, Data: map[string]string{"ca.crt": directory.CABundle}})
	b.provider = &v1alpha1.IdentityProvider{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: "staff"},
		Spec: v1alpha1.IdentityProviderSpec{
			ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Clients: v1alpha1.ProviderClientsListed, Type: v1alpha1.ProviderLDAP, Realm: "ldaps://acme.example",
			LDAP: &v1alpha1.LDAPProviderSettings{
				URL:  directory.URL(),
				Bind: v1alpha1.LDAPBind{DN: ldaptest.BindDN, PasswordSecretRef: v1alpha1.SecretKeyReference{Name: "ldap", Key: "password"}},
				Users: v1alpha1.LDAPUserSearch{
					BaseDN: ldaptest.People, Filter: "(uid=$(username))", Attributes: []string{"cn", "mail", "uid"}, SubjectAttribute: "entryUUID", PasswordChangedAttribute: "pwdChangedTime",
				},
				Groups: &v1alpha1.LDAPGroupSearch{BaseDN: ldaptest.Groups, Filter: "(member=$(dn))"},
			},
			CABundle: &v1alpha1.CABundle{ConfigMapRef: v1alpha1.ConfigMapKeyReference{Name: "roots", Key: "ca.crt"}},
			Allow:    `"staff" in upstream.groups`,
			Claims: map[string]v1alpha1.Expression{
				"preferred_username": "upstream.attributes.uid[0]", "email": "upstream.attributes.?mail[?0]", "groups": `upstream.groups.map(g, "acme:" + g)`,
			},
		},
	}
	env.Create(b.provider)
	b.waitReady()
	env.Update(env.Server, func() {
		rule := &env.Server.Spec.AllowedClients[0]
		rule.IdentityProviders, rule.Groups = []string{"staff"}, []string{"acme:ops"}
	})
	env.WaitFor("the rule to be in force", env.Server, func() bool {
		return testenv.IsTrue(env.Server.Status.Conditions, v1alpha1.ConditionReady) && env.Server.Status.ObservedGeneration == env.Server.Generation
	})
	config := b.webClient()
	signIn := func(username, password string) browser.Page {
		page, err := browser.New(b.transport, env.Issuer).SignIn(t.Context(), config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(strings.Repeat("v", 43))), username, password)
		if err != nil && !strings.Contains(err.Error(), "asks again and again") {
			t.Fatal(err)
		}
		return page
	}
	page := signIn("alice", ldaptest.Password("alice"))
	code := page.Values().Get("code")
	token, err := config.Exchange(env.Context(), code, oauth2.VerifierOption(strings.Repeat("v", 43)))
	if code == "" || err != nil {
		t.Fatalf("the browser is at %s, %v: %s", page.At, err, page.Body)
	}
	status, claims := env.Get("/userinfo", token.AccessToken)
	subject, _ := claims["sub"].(string)
	if status != http.StatusOK || len(subject) != 44 || claims["identity_provider"] != "staff" || claims["preferred_username"] != "alice" {
		t.Errorf("userinfo answers %d %v", status, claims)
	}
	// bob is staff, and not in the group for which the rule asks.
	if page := signIn("bob", ldaptest.Password("bob")); page.Response != nil && page.Values().Get("error") != "access_denied" {
		t.Errorf("bob is at %s: %s", page.At, page.Body)
	}
	env.Update(b.provider, func() { b.provider.Spec.LDAP.Users.BaseDN = "ou=typo," + ldaptest.Base })
	b.env.Eventually("the base DN to be said to be mistyped", 30*time.Second, func() (bool, string) {
		signIn("bob", ldaptest.Password("bob"))
		env.WaitFor("the provider", b.provider, func() bool { return true })
		for _, c := range b.provider.Status.Conditions {
			if c.Type == v1alpha1.ConditionAvailable && c.Reason == v1alpha1.ReasonSearchRefused && strings.Contains(c.Message, "spec.ldap.users.baseDN") {
				return true, ""
			}
		}
		return false, "it is not"
	})
}
