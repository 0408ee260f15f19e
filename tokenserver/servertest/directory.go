package servertest

import (
	"context"
	"sync"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
)

// Directory answers for a directory, about all of its users alike. It implements users.Directories.
type Directory struct {
	mu      sync.Mutex
	answer  users.Answer
	err     error
	asked   int
	subject string
	before  func()
}

// UseDirectory makes the Server ask a directory that answers with this.
func (s *Server) UseDirectory(answer users.Answer) *Directory {
	d := &Directory{answer: answer}
	s.Users.Directories = d
	return d
}

// LDAPProvider returns a provider that is a directory of ten thousand users, all of whom may sign in.
func LDAPProvider() documents.IdentityProvider {
	return documents.IdentityProvider{
		UID: "acme-ldap-uid", Namespace: "identity", Name: "acme-ldap", DisplayName: "Acme", Type: documents.ProviderLDAP,
		Realm: "acme", SubjectAttribute: "entryUUID",
		LDAP: &documents.LDAPProvider{
			URL: "ldaps://ldap.acme.example:636", BindDN: "cn=reader,dc=acme", ThrottleFailures: 4, ThrottleWindow: 1800,
			Users: documents.LDAPUsers{BaseDN: "dc=acme", Filter: "(uid=$(username))", Attributes: []string{"uid"}, PasswordChangedAttribute: "pwdChangedTime"},
		},
		AllClients: true, Allow: "true", Claims: map[string]string{"groups": "upstream.groups"}, MaxIdentities: 10_000,
	}
}

// Set sets what the directory answers.
func (d *Directory) Set(answer users.Answer, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer, d.err = answer, err
}

// Before sets what happens between a question and its answer.
func (d *Directory) Before(answer func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before = answer
}

// Asked returns how often the directory was asked, and about whom at last.
func (d *Directory) Asked() (int, string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked, d.subject
}

// Confirm implements users.Directories.
func (d *Directory) Confirm(_ context.Context, _ *registry.IdentityProvider, subject []byte) (users.Answer, error) {
	d.mu.Lock()
	answer, err, before := d.answer, d.err, d.before
	d.asked++
	d.subject = string(subject)
	d.mu.Unlock()
	if before != nil {
		before()
	}
	return answer, err
}
