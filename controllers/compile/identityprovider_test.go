package compile

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

func provider(change func(*v1alpha1.IdentityProviderSpec)) *v1alpha1.IdentityProvider {
	p := &v1alpha1.IdentityProvider{
		ObjectMeta: metav1.ObjectMeta{Namespace: "identity", Name: "acme", UID: "uid"},
		Spec: v1alpha1.IdentityProviderSpec{
			Type: v1alpha1.ProviderOIDC, Clients: v1alpha1.ProviderClientsListed, Allow: "upstream.hd == 'acme.example'",
			Claims: map[string]v1alpha1.Expression{"preferred_username": "upstream.name"},
			OIDC:   &v1alpha1.OIDCProviderSettings{Issuer: "https://login.acme.example", ClientID: "us"},
		},
	}
	change(&p.Spec)
	return p
}

func TestAnIdentityProviderHasItsIssuerAsRealmAndTheDocumentedDefaults(t *testing.T) {
	doc, findings := IdentityProvider(provider(func(*v1alpha1.IdentityProviderSpec) {}))
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	if doc.Realm != "https://login.acme.example" || doc.SubjectAttribute != "sub" || doc.DisplayName != "acme" || doc.AllClients ||
		doc.MaxIdentities != 10000 || doc.OIDC.MaxAge != 86400 || doc.OIDC.UserInfo {
		t.Errorf("%+v, %+v", doc, doc.OIDC)
	}
}

func TestFindingsOfAnIdentityProviderNameTheField(t *testing.T) {
	for want, change := range map[string]func(*v1alpha1.IdentityProviderSpec){
		"spec.allow:": func(s *v1alpha1.IdentityProviderSpec) { s.Allow = "upstream.(" },
		"spec.claims[sub]:": func(s *v1alpha1.IdentityProviderSpec) {
			s.Claims = map[string]v1alpha1.Expression{"sub": "upstream.sub"}
		},
		"spec.oidc.parameters[redirect_uri]": func(s *v1alpha1.IdentityProviderSpec) {
			s.OIDC.Parameters = map[string]v1alpha1.ParameterValue{"redirect_uri": "x"}
		},
	} {
		if _, findings := IdentityProvider(provider(change)); len(findings) != 1 || !strings.HasPrefix(findings.String(), want) {
			t.Errorf("want %s, got %s", want, findings)
		}
	}
}

// Some providers take a parameter for another that the token server sets: they ignore case, cut spaces
// off, or read brackets as a list.
func TestNoParameterCanBeTakenForOneOfTheProtocol(t *testing.T) {
	findingsOf := func(name string) Findings {
		_, findings := IdentityProvider(provider(func(s *v1alpha1.IdentityProviderSpec) {
			s.OIDC.Parameters = map[string]v1alpha1.ParameterValue{name: "x"}
		}))
		return findings
	}
	for _, name := range []string{
		"", "redirect_uri", "Redirect_URI", "NONCE", "redirect_uri ", "redirect_uri[]", "redirect_uri\x00", "a&redirect_uri=b", "a=b", strings.Repeat("a", 65),
	} {
		if findings := findingsOf(name); len(findings) != 1 || !strings.HasPrefix(findings[0].Field, "spec.oidc.parameters[") || len(findings[0].Field) > 100 {
			t.Errorf("%.70q: %s", name, findings)
		}
	}
	for _, name := range []string{"hd", "domain_hint", "kc_idp_hint", "P", "acme.tenant-id"} {
		if findings := findingsOf(name); len(findings) > 0 {
			t.Errorf("%s: %s", name, findings)
		}
	}
}

func TestAnExampleThatDoesNotComeOutSoIsAnError(t *testing.T) {
	example := func(upstream, claims string) *v1alpha1.IdentityProvider {
		return provider(func(s *v1alpha1.IdentityProviderSpec) {
			s.Examples = []v1alpha1.MappingExample{{Name: "one", Upstream: runtime.RawExtension{Raw: []byte(upstream)}, Denied: claims == ""}}
			if claims != "" {
				s.Examples[0].Claims = &runtime.RawExtension{Raw: []byte(claims)}
			}
		})
	}
	for _, p := range []*v1alpha1.IdentityProvider{
		example(`{"hd":"acme.example","name":"kim"}`, `{"preferred_username":"kim"}`), example(`{"hd":"evil.example"}`, ""),
	} {
		if err := MappingExamples(p); err != nil {
			t.Error(err)
		}
	}
	if err := MappingExamples(example(`{"hd":"acme.example"}`, "")); err == nil || !strings.Contains(err.Error(), `example "one"`) {
		t.Error(err)
	}
}

func TestFindingsOfADirectoryNameTheField(t *testing.T) {
	directory := func(change func(*v1alpha1.LDAPProviderSettings)) *v1alpha1.IdentityProvider {
		return provider(func(s *v1alpha1.IdentityProviderSpec) {
			s.Type, s.Realm, s.OIDC = v1alpha1.ProviderLDAP, "ldaps://acme.example", nil
			s.LDAP = &v1alpha1.LDAPProviderSettings{
				URL: "ldaps://ldap.acme.example", Bind: v1alpha1.LDAPBind{DN: "cn=reader,dc=acme"},
				Users:  v1alpha1.LDAPUserSearch{BaseDN: "ou=people,dc=acme", Filter: "(uid=$(username))", SubjectAttribute: "entryUUID"},
				Groups: &v1alpha1.LDAPGroupSearch{BaseDN: "ou=groups,dc=acme", Filter: "(member=$(dn))"},
			}
			change(s.LDAP)
		})
	}
	doc, findings := IdentityProvider(directory(func(*v1alpha1.LDAPProviderSettings) {}))
	if len(findings) > 0 || doc.SubjectAttribute != "entryUUID" || doc.OIDC != nil || doc.LDAP.Groups.NameAttribute != "cn" ||
		doc.LDAP.ThrottleFailures != 4 || doc.LDAP.ThrottleWindow != 1800 {
		t.Errorf("%s, %+v", findings, doc.LDAP)
	}
	for want, change := range map[string]func(*v1alpha1.LDAPProviderSettings){
		"spec.ldap.bind.dn:":             func(l *v1alpha1.LDAPProviderSettings) { l.Bind.DN = "reader" },
		"spec.ldap.users.baseDN:":        func(l *v1alpha1.LDAPProviderSettings) { l.Users.BaseDN = "people" },
		"spec.ldap.users.filter:":        func(l *v1alpha1.LDAPProviderSettings) { l.Users.Filter = "(uid=$(username)" },
		"spec.ldap.groups.filter:":       func(l *v1alpha1.LDAPProviderSettings) { l.Groups.Filter = "(member=*)" },
		"spec.ldap.users.accountFilter:": func(l *v1alpha1.LDAPProviderSettings) { l.Users.AccountFilter = "(a=$(dn))" },
	} {
		if _, findings := IdentityProvider(directory(change)); len(findings) != 1 || !strings.HasPrefix(findings.String(), want) {
			t.Errorf("want %s, got %s", want, findings)
		}
	}
}
