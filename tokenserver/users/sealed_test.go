package users_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
)

// The token server asks the directory again by the subject, so it has to be recorded.
func TestTheSubjectAtADirectoryIsRecordedSealedAndThatOfAnOpenIDProviderNotAtAll(t *testing.T) {
	const subject = "the-entryUUID-of-alice"
	directory := acme()
	directory.Type, directory.OIDC, directory.SubjectAttribute = documents.ProviderLDAP, nil, "entryUUID"
	directory.LDAP = &documents.LDAPProvider{
		URL: "ldaps://ldap.acme.example", BindDN: "cn=reader", Users: documents.LDAPUsers{BaseDN: "ou=people", Filter: "(uid=$(username))"},
		ThrottleFailures: 4, ThrottleWindow: 1800,
	}
	for _, p := range []documents.IdentityProvider{acme(), directory} {
		w := newServer(t, p)
		user := w.mustSignIn(subject, employee())
		recorded, err := w.Store.GetIdentity(t.Context(), user.UID)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(recorded)
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range []string{
			subject, hex.EncodeToString([]byte(subject)), base64.StdEncoding.EncodeToString([]byte(subject)), base64.RawURLEncoding.EncodeToString([]byte(subject)),
		} {
			if strings.Contains(string(text), form) {
				t.Errorf("%s: the record has the subject: %s", p.Type, text)
			}
		}
		if p.Type == documents.ProviderOIDC {
			if recorded.SealedSubject != "" {
				t.Errorf("the record of a user of an OpenID provider has the sealed subject %q", recorded.SealedSubject)
			}
			continue
		}
		if opened, err := w.Keys.Open(keys.PurposeUpstreamSubject, recorded.SealedSubject); err != nil || string(opened) != subject {
			t.Errorf("the sealed subject is %q, %v", opened, err)
		}
	}
}
