package main

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/subjects"
)

func TestTheUsersOfIdentityProvidersAreListedAndSuspendedByNameOrSubject(t *testing.T) {
	env := testenv.New(t)
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	create := func(letter, username string, signedIn time.Time) *v1alpha1.OAuthIdentity {
		subject := "~" + strings.Repeat(letter, 42) + "A" // four bits
		o := &v1alpha1.OAuthIdentity{
			ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: v1alpha1.OAuthIdentityName(subject)},
			Spec:       v1alpha1.OAuthIdentitySpec{ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Subject: subject},
		}
		env.Create(o)
		last := metav1.NewMicroTime(signedIn)
		o.Status.Provider, o.Status.LastSignIn = "acme", &last
		o.Status.Claims = &runtime.RawExtension{Raw: []byte(`{"preferred_username": "` + username + `"}`)}
		if err := testenv.Kube.Status().Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	alice, mallory := create("a", "alice", at), create("m", `mallory\u001b[31m`, at.Add(time.Hour))
	p := newPerson(env, "owner").may(env.ServerNamespace, "list oauthidentities")
	got := decodeJSON[[]listedUser](t, p.succeed("identities", "-n", env.ServerNamespace, "-o", "json"))
	if len(got) != 2 || got[0].Subject != mallory.Spec.Subject || got[1].PreferredUsername != "alice" || got[1].Provider != "acme" || !got[1].LastSignIn.Equal(at) {
		t.Errorf("the list is %+v", got)
	}
	if out := p.succeed("identities", "-n", env.ServerNamespace); strings.Contains(out, "\x1b") || !strings.Contains(out, "alice") || !strings.Contains(out, alice.Spec.Subject) {
		t.Errorf("it prints %q", out)
	}
	if out := p.succeed("identities", "-n", env.ServerNamespace, "--provider", "another"); strings.Contains(out, "alice") {
		t.Errorf("of another provider: %s", out)
	}
	if text := p.fail(exitFailed, "suspend", "-n", env.ServerNamespace, "identity/"+alice.Spec.Subject); !strings.Contains(text, "you may not get oauthidentities.oauth-operator.dev") {
		t.Errorf("it says %s", text)
	}
	p.may(env.ServerNamespace, "get,patch oauthidentities")
	p.succeed("suspend", "-n", env.ServerNamespace, "identity/"+alice.Spec.Subject)
	env.WaitFor("the user to be suspended", alice, func() bool { return alice.Spec.Suspended })
	p.succeed("resume", "-n", env.ServerNamespace, "identity/"+alice.Name)
	env.WaitFor("the user not to be suspended", alice, func() bool { return !alice.Spec.Suspended })
	p.succeed("revoke", "-n", env.ServerNamespace, "identity/"+alice.Spec.Subject)
	env.WaitFor("tokensNotBefore", alice, func() bool { return alice.Spec.TokensNotBefore != nil })
}

func TestASubjectIsDerivedAsTheTokenServerDoesAndTheUserSuspendedBeforeSigningIn(t *testing.T) {
	env := testenv.New(t)
	provider := func(name string, change func(*v1alpha1.IdentityProviderSpec)) {
		p := &v1alpha1.IdentityProvider{ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: name}, Spec: v1alpha1.IdentityProviderSpec{
			ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Clients: v1alpha1.ProviderClientsListed, Allow: "true",
		}}
		change(&p.Spec)
		env.Create(p)
	}
	provider("acme", func(s *v1alpha1.IdentityProviderSpec) {
		s.Type = v1alpha1.ProviderOIDC
		s.OIDC = &v1alpha1.OIDCProviderSettings{Issuer: "https://login.acme.example", ClientID: "us", ClientSecretRef: v1alpha1.SecretKeyReference{Name: "acme", Key: "secret"}}
	})
	provider("staff", func(s *v1alpha1.IdentityProviderSpec) {
		s.Type, s.Realm = v1alpha1.ProviderLDAP, "ldaps://ldap.acme.example"
		s.LDAP = &v1alpha1.LDAPProviderSettings{
			URL: "ldaps://ldap.acme.example", Bind: v1alpha1.LDAPBind{DN: "cn=reader", PasswordSecretRef: v1alpha1.SecretKeyReference{Name: "staff", Key: "password"}},
			Users: v1alpha1.LDAPUserSearch{BaseDN: "ou=people", Filter: "(sAMAccountName=$(username))", SubjectAttribute: "objectGUID"},
		}
	})
	provider("entra", func(s *v1alpha1.IdentityProviderSpec) {
		s.Type = v1alpha1.ProviderOIDC
		s.OIDC = &v1alpha1.OIDCProviderSettings{Issuer: "https://login.entra.example", ClientID: "us", ClientSecretRef: v1alpha1.SecretKeyReference{Name: "acme", Key: "secret"}, SubjectClaim: "oid"}
	})
	p := newPerson(env, "owner").may(env.ServerNamespace, "get identityproviders authorizationservers")
	derived := func(want []byte, providerType, realm, attribute string, args ...string) string {
		t.Helper()
		expected, err := subjects.Derive(env.Issuer, providerType, realm, attribute, want)
		got := strings.TrimSpace(p.succeed(append([]string{"subject", "-n", env.ServerNamespace}, args...)...))
		if err != nil || got != expected {
			t.Errorf("%q: %s, want %s (%v)", args, got, expected, err)
		}
		return got
	}
	alice := derived([]byte("248289761001"), "OIDC", "https://login.acme.example", "sub", "--provider", "acme", "248289761001")
	guid := []byte{0x7e, 0x3a, 0xbc, 0x6f, 0x0f, 0x1b, 0x2a, 0x4d, 0x9c, 0x1e, 0x2f, 0x3a, 0x4b, 0x5c, 0x6d, 0x7e}
	for _, form := range []string{"6fbc3a7e-1b0f-4d2a-9c1e-2f3a4b5c6d7e", "{6FBC3A7E-1B0F-4D2A-9C1E-2F3A4B5C6D7E}", base64.StdEncoding.EncodeToString(guid)} {
		derived(guid, "LDAP", "ldaps://ldap.acme.example", "objectGUID", "--provider", "staff", form)
	}
	p.fail(exitFailed, "subject", "-n", env.ServerNamespace, "--provider", "staff", "ada")
	p.fail(exitFailed, "subject", "-n", env.ServerNamespace, "--provider", "another", "ada")
	if text := p.fail(exitFailed, "subject", "-n", env.ServerNamespace, "--provider", "entra", "0D8A6E5C-52B4-103F-8B6A-9D5BD5B5CF0E"); !strings.Contains(text, "in lower case") {
		t.Errorf("it says %s", text)
	}
	p.fail(exitUsage, "subject", "-n", env.ServerNamespace, "ada")
	p.fail(exitUsage, "suspend", "-n", env.ServerNamespace, "identity/"+alice[:43])

	p.may(env.ServerNamespace, "get,patch oauthidentities")
	if text := p.fail(exitFailed, "suspend", "-n", env.ServerNamespace, "identity/"+alice); !strings.Contains(text, "you may not list authorizationservers") || !strings.Contains(text, "--authserver") {
		t.Errorf("it says %s", text)
	}
	p.may(env.ServerNamespace, "create oauthidentities", "list authorizationservers")
	if out := p.succeed("suspend", "-n", env.ServerNamespace, "identity/"+alice); !strings.Contains(out, "created, since there is no record of the user here (compare the sub if the user has signed in): suspended") {
		t.Errorf("it prints %s", out)
	}
	o := &v1alpha1.OAuthIdentity{ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: v1alpha1.OAuthIdentityName(alice)}}
	env.WaitFor("what spec says to be in force", o, func() bool {
		ready := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionReady)
		return ready != nil && ready.Reason == v1alpha1.ReasonSuspended
	})
	p.succeed("resume", "-n", env.ServerNamespace, "identity/"+alice)
	env.WaitFor("the user not to be suspended", o, func() bool { return !o.Spec.Suspended })

	bob := derived([]byte("bob"), "OIDC", "https://login.acme.example", "sub", "--provider", "acme", "bob")
	p.fail(exitFailed, "resume", "-n", env.ServerNamespace, "identity/"+bob)
	result := decodeJSON[changed](t, p.succeed("revoke", "-n", env.ServerNamespace, "--authserver", "main", "-o", "json", "identity/"+bob))
	o.Name = v1alpha1.OAuthIdentityName(bob)
	if err := testenv.Kube.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil || o.Spec.TokensNotBefore == nil || !result.Created || result.Field != "spec.tokensNotBefore" {
		t.Errorf("%+v, %+v, %v", result, o.Spec, err)
	}
}
