package users_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/users"
)

func subject(t *testing.T, issuer, providerType, realm, attribute, value string) string {
	t.Helper()
	s, err := users.Subject(issuer, providerType, realm, attribute, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The values are fixed: applications know their users by them.
func TestASubjectNeverChanges(t *testing.T) {
	got := subject(t, "https://auth.example.com", "OIDC", "https://login.acme.example", "sub", "248289761001")
	if want := "~3hNlTVRPDPWiR0WCuZ7kVrXRHr0h8ru6vpCySZ5gtgc"; got != want {
		t.Errorf("the subject is %s, want %s", got, want)
	}
}

func TestAnyOtherIssuerTypeRealmAttributeOrValueGivesAnotherSubject(t *testing.T) {
	seen := map[string][]string{}
	for _, parts := range [][]string{
		{"https://a.example", "OIDC", "realm", "sub", "alice"},
		{"https://b.example", "OIDC", "realm", "sub", "alice"},
		{"https://a.example", "LDAP", "realm", "sub", "alice"},
		{"https://a.example", "OIDC", "realm2", "sub", "alice"},
		{"https://a.example", "OIDC", "realm", "oid", "alice"},
		{"https://a.example", "OIDC", "realm", "sub", "Alice"},
		{"https://a.example", "OIDC", "realm", "sub", "alice\x00"},
		{"https://a.example", "OIDC", "a", "bc", "alice"},
		{"https://a.example", "OIDC", "ab", "c", "alice"},
		{"https://a.example", "OIDC", "realm", "a", "bc"},
		{"https://a.example", "OIDC", "realm", "ab", "c"},
	} {
		s := subject(t, parts[0], parts[1], parts[2], parts[3], parts[4])
		if other, ok := seen[s]; ok {
			t.Errorf("%q and %q have the same subject", parts, other)
		}
		seen[s] = parts
	}
}

func TestAProvidersSubjectHasOneTo255Bytes(t *testing.T) {
	for size, want := range map[int]error{0: users.ErrSubject, 1: nil, 255: nil, 256: users.ErrSubject} {
		if _, err := users.Subject("https://a.example", "LDAP", "realm", "objectGUID", bytes.Repeat([]byte{0}, size)); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v, want %v", size, err, want)
		}
	}
	if _, err := users.Subject("https://a.example", "LDAP", "", "objectGUID", []byte("x")); err == nil {
		t.Error("a subject was derived without a realm")
	}
}
