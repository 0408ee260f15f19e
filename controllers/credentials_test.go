package controllers

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

func TestAGeneratedSecretHas256RandomBitsAndNoCharacterThatNeedsEncoding(t *testing.T) {
	random := bytes.NewReader(bytes.Repeat([]byte{0xff, 0xfb}, 16))
	secret, err := newSecret(random)
	if err != nil || random.Len() != 0 {
		t.Fatalf("%v, and %d of 32 random bytes are not in it", err, random.Len())
	}
	if !regexp.MustCompile(`^oauthop_[A-Za-z0-9._~-]{43}$`).MatchString(secret) {
		t.Errorf("a secret of another form: %s", secret)
	}
	seen := map[string]bool{}
	for range 100 {
		secret, err := newSecret(rand.Reader)
		if err != nil || seen[secret] {
			t.Fatalf("twice the same, or %v", err)
		}
		if weak, problem := checkSecret(secret); weak || problem != "" {
			t.Errorf("a secret that would be refused: %s", problem)
		}
		seen[secret] = true
	}
}

func TestNothingIsMadeWithoutRandomness(t *testing.T) {
	for name, random := range map[string]io.Reader{"none": bytes.NewReader(nil), "too little": bytes.NewReader(make([]byte, 7))} {
		if secret, err := newSecret(random); err == nil || secret != "" {
			t.Errorf("%s: a secret %q", name, secret)
		}
		if c, err := newCredential("s", documents.CredentialActive, time.Unix(1, 0), bytes.NewReader(nil)); err == nil || c != (documents.Credential{}) {
			t.Errorf("%s: a credential %+v", name, c)
		}
	}
}

func TestACredentialHoldsAHashAndAnIDThatSaysNothingAboutTheSecret(t *testing.T) {
	const secret = "oauthop_0123456789012345678901234567890123456789012"
	c, err := newCredential(secret, documents.CredentialPending, time.Unix(1700000000, 5), bytes.NewReader(make([]byte, 8)))
	sum := sha256.Sum256([]byte(secret))
	want := documents.Credential{ID: "c-0000000000000000", SHA256: hex.EncodeToString(sum[:]), State: "Pending", NotBefore: 1700000000}
	if err != nil || c != want {
		t.Errorf("%+v, %v", c, err)
	}
	text, _ := documents.Encode(documents.Client{Credentials: []documents.Credential{c}})
	if strings.Contains(text, secret) || strings.Contains(fmt.Sprintf("%+v", c), secret) {
		t.Error("the secret is in the document")
	}
	again, _ := newCredential(secret, documents.CredentialPending, time.Unix(1700000000, 5), rand.Reader)
	if again.ID == c.ID {
		t.Error("the id follows from the secret")
	}
}

func TestACredentialIsFoundByItsSecretAlone(t *testing.T) {
	credentials := []documents.Credential{{ID: "a", SHA256: hashSecret("one")}, {ID: "b", SHA256: hashSecret("two")}, {ID: "c"}}
	for secret, want := range map[string]string{"one": "a", "two": "b"} {
		if c := credentialOf(credentials, secret); c == nil || c.ID != want {
			t.Errorf("%q: %+v", secret, c)
		}
	}
	for _, secret := range []string{"", "three", "one ", hashSecret("one")} {
		if c := credentialOf(credentials, secret); c != nil {
			t.Errorf("%q: %+v", secret, c)
		}
	}
	if c := credentialOf([]documents.Credential{{ID: "empty", SHA256: hashSecret("")}}, ""); c != nil {
		t.Error("a client without a secret has a credential")
	}
}

func TestARetryReplacesThePendingCredentialAndLeavesTheActiveOne(t *testing.T) {
	active := documents.Credential{ID: "a", State: documents.CredentialActive}
	first := withPending([]documents.Credential{active}, documents.Credential{ID: "p1", State: documents.CredentialPending})
	second := withPending(first, documents.Credential{ID: "p2", State: documents.CredentialPending})
	want := []documents.Credential{{ID: "p2", State: documents.CredentialPending}, active}
	if !reflect.DeepEqual(second, want) {
		t.Errorf("%+v", second)
	}
	if len(first) != 2 || first[0].ID != "p1" || first[1] != active {
		t.Errorf("the list that was given is now %+v", first)
	}
	if c := inState(second, documents.CredentialActive); c == nil || c.ID != "a" {
		t.Errorf("the Active one is %+v", c)
	}
	if c := inState(nil, documents.CredentialActive); c != nil {
		t.Errorf("of none %+v", c)
	}
}

func TestAnActivatedCredentialIsTheOnlyOne(t *testing.T) {
	got := activated(documents.Credential{ID: "p", SHA256: "h", State: documents.CredentialPending, NotBefore: 5}, "uid/7")
	want := []documents.Credential{{ID: "p", SHA256: "h", State: documents.CredentialActive, NotBefore: 5, Source: "uid/7"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestASourceNamesOneVersionOfOneSecret(t *testing.T) {
	secret := &metav1.ObjectMeta{UID: "u", ResourceVersion: "7"}
	if got := sourceOf(secret, ""); got != "u/7" {
		t.Error(got)
	}
	if got := sourceOf(secret, "password"); got != "u/7/password" {
		t.Error(got)
	}
}

func TestASecretOfSomebodyElseIsRefusedIfItIsWeakOrNoClientSecret(t *testing.T) {
	random := strings.Repeat("0123456789abcdef", 2)
	for value, want := range map[string]struct {
		weak    bool
		problem string
	}{
		random:                     {false, ""},
		random + " ~!\"\\":         {false, ""},
		strings.Repeat("a", 1024):  {false, ""},
		random[:31]:                {true, "is shorter than 32 characters"},
		"":                         {true, "is shorter than 32 characters"},
		strings.Repeat("a", 1025):  {false, "is longer than 1024 characters"},
		random + "\n":              {false, "a line break at its end, maybe"},
		random + "\x7f":            {false, "other than printable ASCII"},
		random + "\x00":            {false, "other than printable ASCII"},
		strings.Repeat("ü", 32):    {false, "other than printable ASCII"},
		"\t" + random:              {false, "other than printable ASCII"},
		random + "\xff" + "\u2028": {false, "other than printable ASCII"},
	} {
		weak, problem := checkSecret(value)
		if weak != want.weak || (problem == "") != (want.problem == "") || !strings.Contains(problem, want.problem) {
			t.Errorf("%q: weak %v, %q", value, weak, problem)
		}
		if value != "" && strings.Contains(problem, value) {
			t.Errorf("the message quotes the secret: %s", problem)
		}
	}
}
