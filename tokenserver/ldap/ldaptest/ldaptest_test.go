//go:build ldap

package ldaptest

import (
	"testing"

	"github.com/go-ldap/ldap/v3"
)

func TestADirectoryAnswersAndSaysWhatItWasAsked(t *testing.T) {
	s := Start(t)
	conn, err := ldap.DialURL(s.PlainURL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.Bind(DN("alice"), Password("alice")); err != nil {
		t.Fatal(err)
	}
	if err := conn.Bind(DN("alice"), "wrong"); !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		t.Errorf("a wrong password: %v", err)
	}
	if n := s.CountBinds(DN("alice")); n != 2 {
		t.Errorf("%d binds: %q", n, s.Binds())
	}
	s.Kill()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	s.Set(t, DN("alice"), "userPassword", "another")
	if err := conn.Bind(DN("alice"), "another"); err == nil {
		t.Error("the connection outlives the server")
	}
}
