package subjects

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func derive(t *testing.T, issuer, providerType, realm, attribute, value string) string {
	t.Helper()
	s, err := Derive(issuer, providerType, realm, attribute, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The values are fixed: applications know their users by them.
func TestASubjectNeverChanges(t *testing.T) {
	got := derive(t, "https://auth.example.com", "OIDC", "https://login.acme.example", "sub", "248289761001")
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
		s := derive(t, parts[0], parts[1], parts[2], parts[3], parts[4])
		if other, ok := seen[s]; ok {
			t.Errorf("%q and %q have the same subject", parts, other)
		}
		seen[s] = parts
	}
}

func TestAProvidersSubjectHasOneTo255Bytes(t *testing.T) {
	for size, want := range map[int]error{0: ErrUpstream, 1: nil, 255: nil, 256: ErrUpstream} {
		if _, err := Derive("https://a.example", "LDAP", "realm", "objectGUID", bytes.Repeat([]byte{0}, size)); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v, want %v", size, err, want)
		}
	}
	if _, err := Derive("https://a.example", "LDAP", "", "objectGUID", []byte("x")); err == nil {
		t.Error("a subject was derived without a realm")
	}
}

func TestWhatIsNoSubjectIsTold(t *testing.T) {
	good := derive(t, "https://auth.example.com", "OIDC", "https://login.acme.example", "sub", "248289761001")
	for text, want := range map[string]bool{
		good: true, good[1:]: false, good + "A": false, good[:43]: false, "": false, "~": false,
		"~" + strings.Repeat("A", 43): true, "~" + strings.Repeat("A", 42) + "B": false, // the last character has four bits
		"~" + strings.Repeat("+", 43): false, good + "\n": false,
	} {
		if IsValid(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}
