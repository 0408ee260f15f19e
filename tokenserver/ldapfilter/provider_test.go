package ldapfilter

import (
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

func acme() documents.LDAPProvider {
	return documents.LDAPProvider{
		URL: "ldaps://ldap.acme.example", BindDN: "cn=reader,dc=acme",
		Users: documents.LDAPUsers{
			BaseDN: "ou=people,dc=acme", Filter: "(uid=$(username))", AccountFilter: "(!(pwdAccountLockedTime=*))", Attributes: []string{"cn", "mail", "cn;lang-de"},
			PasswordChangedAttribute: "pwdChangedTime",
		},
		Groups: documents.LDAPGroups{BaseDN: "ou=groups,dc=acme", Filter: "(|(member=$(dn))(memberUid=$(attr.uid)))", NameAttribute: "cn"},
	}
}

func TestTheSettingsOfADirectoryAreParsed(t *testing.T) {
	p, err := NewProvider(acme(), "entryUUID")
	if err != nil {
		t.Fatal(err)
	}
	if p.Host != "ldap.acme.example" || p.Port != "636" || !p.IsTLS || p.Account == "" || strings.Join(p.Attributes(), " ") != "uid" {
		t.Errorf("%+v", p)
	}
	for url, want := range map[string]string{"ldaps://[2001:db8::1]:1636": "2001:db8::1 1636", "ldaps://h/": "h 636", "ldap://127.0.0.1": "127.0.0.1 389"} {
		l := acme()
		l.URL, l.Groups = url, documents.LDAPGroups{}
		if p, err := NewProvider(l, "entryUUID"); err != nil || p.Host+" "+p.Port != want || p.Groups != nil {
			t.Errorf("%s: %+v, %v", url, p, err)
		}
	}
}

func TestAMistakeInTheSettingsOfADirectoryIsNamedWithItsField(t *testing.T) {
	for want, change := range map[string]func(l *documents.LDAPProvider, subject *string){
		"ldap.url is not ldaps://<host>":                         func(l *documents.LDAPProvider, _ *string) { l.URL = "https://ldap.acme.example" },
		"ldap.url is not ":                                       func(l *documents.LDAPProvider, _ *string) { l.URL = "ldaps://reader:password@ldap.acme.example" },
		"ldap.url is not  ":                                      func(l *documents.LDAPProvider, _ *string) { l.URL = "ldaps://ldap.acme.example/dc=acme??sub" },
		"ldap.url is not":                                        func(l *documents.LDAPProvider, _ *string) { l.URL = "ldaps://" },
		"ldap.url has a port":                                    func(l *documents.LDAPProvider, _ *string) { l.URL = "ldaps://h:65536" },
		"ldap.url has a port ":                                   func(l *documents.LDAPProvider, _ *string) { l.URL = "ldaps://h:0" },
		"ldap.url is ldap://, which sends":                       func(l *documents.LDAPProvider, _ *string) { l.URL = "ldap://ldap.acme.example" },
		"ldap.url is ldap://, which sends ":                      func(l *documents.LDAPProvider, _ *string) { l.URL = "ldap://localhost" },
		"ldap.startTLS is for ldap://":                           func(l *documents.LDAPProvider, _ *string) { l.StartTLS = true },
		`ldap.bind.dn "reader" is not a DN`:                      func(l *documents.LDAPProvider, _ *string) { l.BindDN = "reader" },
		"ldap.bind.dn is empty":                                  func(l *documents.LDAPProvider, _ *string) { l.BindDN = "" },
		`ldap.users.baseDN "ou people=x,dc=acme" is not a DN`:    func(l *documents.LDAPProvider, _ *string) { l.Users.BaseDN = "ou people=x,dc=acme" },
		`ldap.users.baseDN "ou=people,,dc=acme" is not a DN`:     func(l *documents.LDAPProvider, _ *string) { l.Users.BaseDN = "ou=people,,dc=acme" },
		"ldap.users.filter needs an opening parenthesis":         func(l *documents.LDAPProvider, _ *string) { l.Users.Filter = "uid=$(username)" },
		"ldap.users.filter has no $(username)":                   func(l *documents.LDAPProvider, _ *string) { l.Users.Filter = "(uid=admin)" },
		"ldap.users.filter has $(username) behind !":             func(l *documents.LDAPProvider, _ *string) { l.Users.Filter = "(!(uid=$(username)))" },
		"ldap.users.filter has $(username) behind ! ":            nil,
		"ldap.users.filter compares $(username) with all":        func(l *documents.LDAPProvider, _ *string) { l.Users.Filter = "(:caseExactMatch:=$(username))" },
		"ldap.users.filter has $(dn), but there is no entry yet": func(l *documents.LDAPProvider, _ *string) { l.Users.Filter = "(|(uid=$(username))(a=$(dn)))" },
		"ldap.users.accountFilter has a variable":                func(l *documents.LDAPProvider, _ *string) { l.Users.AccountFilter = "(uid=$(username))" },
		"ldap.users.accountFilter needs a closing":               func(l *documents.LDAPProvider, _ *string) { l.Users.AccountFilter = "(a=b" },
		`ldap.users.attributes[1] "*" is not the name`:           func(l *documents.LDAPProvider, _ *string) { l.Users.Attributes = []string{"cn", "*"} },
		"ldap.users.attributes[1] is userPassword;x-a":           func(l *documents.LDAPProvider, _ *string) { l.Users.Attributes = []string{"cn", "userPassword;x-a"} },
		"ldap.users.subjectAttribute is uid, which another":      func(_ *documents.LDAPProvider, s *string) { *s = "uid" },
		"ldap.users.subjectAttribute is sAMAccountName":          func(_ *documents.LDAPProvider, s *string) { *s = "sAMAccountName" },
		`ldap.users.subjectAttribute "" is not`:                  func(_ *documents.LDAPProvider, s *string) { *s = "" },
		`ldap.users.passwordChangedAttribute "a b" is not`:       func(l *documents.LDAPProvider, _ *string) { l.Users.PasswordChangedAttribute = "a b" },
		`ldap.groups.baseDN is empty`:                            func(l *documents.LDAPProvider, _ *string) { l.Groups.BaseDN = "" },
		`ldap.groups.nameAttribute "c n" is not`:                 func(l *documents.LDAPProvider, _ *string) { l.Groups.NameAttribute = "c n" },
		"ldap.groups.filter is empty":                            func(l *documents.LDAPProvider, _ *string) { l.Groups.Filter = "" },
		"ldap.groups.filter has $(username), which may be":       func(l *documents.LDAPProvider, _ *string) { l.Groups.Filter = "(memberUid=$(username))" },
		"ldap.groups.filter has neither $(dn) nor":               func(l *documents.LDAPProvider, _ *string) { l.Groups.Filter = "(cn=staff)" },
	} {
		l, subject := acme(), "entryUUID"
		if change == nil {
			l.Users.Filter = "(&(a=b)(!(|(c=d)(uid=$(username)))))"
		} else {
			change(&l, &subject)
		}
		_, err := NewProvider(l, subject)
		if err == nil || !strings.HasPrefix(err.Error(), strings.TrimSpace(want)) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", want, err)
		}
	}
	l := acme()
	l.BindDN, l.Users.BaseDN = "reader", "people\npeople"
	if _, err := NewProvider(l, "entryUUID"); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("two mistakes: %v", err)
	}
}
