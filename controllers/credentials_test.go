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

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

func TestAGeneratedSecretHas256RandomBitsAndNoCharacterThatNeedsEncoding(t *testing.T) {
	random := bytes.NewReader(bytes.Repeat([]byte{0xff, 0xfb}, 16))
	secret, err := newClientSecret(random)
	if err != nil || random.Len() != 0 {
		t.Fatalf("%v, and %d of 32 random bytes are not in it", err, random.Len())
	}
	if !regexp.MustCompile(`^oauthop_[A-Za-z0-9._~-]{43}$`).MatchString(secret) {
		t.Errorf("a secret of another form: %s", secret)
	}
	seen := map[string]bool{}
	for range 100 {
		secret, err := newClientSecret(rand.Reader)
		if err != nil || seen[secret] {
			t.Fatalf("twice the same, or %v", err)
		}
		if reason, problem := compile.FindSecretProblem(secret); reason != "" || problem != "" {
			t.Errorf("a secret that would be refused: %s", problem)
		}
		seen[secret] = true
	}
}

func TestNothingIsMadeWithoutRandomness(t *testing.T) {
	for name, random := range map[string]io.Reader{"none": bytes.NewReader(nil), "too little": bytes.NewReader(make([]byte, 7))} {
		if secret, err := newClientSecret(random); err == nil || secret != "" {
			t.Errorf("%s: a secret %q", name, secret)
		}
		if c, err := newCredential("s", documents.CredentialActive, 0, time.Unix(1, 0), bytes.NewReader(nil)); err == nil || c != (documents.Credential{}) {
			t.Errorf("%s: a credential %+v", name, c)
		}
	}
}

func TestACredentialHoldsAHashAndAnIDThatSaysNothingAboutTheSecret(t *testing.T) {
	const secret = "oauthop_0123456789012345678901234567890123456789012"
	c, err := newCredential(secret, documents.CredentialPending, 0, time.Unix(1700000000, 5), bytes.NewReader(make([]byte, 8)))
	sum := sha256.Sum256([]byte(secret))
	want := documents.Credential{ID: "c-0000000000000000", SHA256: hex.EncodeToString(sum[:]), State: "Pending", NotBefore: 1700000000}
	if err != nil || c != want {
		t.Errorf("%+v, %v", c, err)
	}
	text, _ := documents.Encode(documents.Client{Credentials: []documents.Credential{c}})
	if strings.Contains(text, secret) || strings.Contains(fmt.Sprintf("%+v", c), secret) {
		t.Error("the secret is in the document")
	}
	again, _ := newCredential(secret, documents.CredentialPending, 0, time.Unix(1700000000, 5), rand.Reader)
	if again.ID == c.ID {
		t.Error("the id follows from the secret")
	}
}

func TestACredentialIsFoundByItsSecretAlone(t *testing.T) {
	credentials := []documents.Credential{{ID: "a", SHA256: hashSecret("one")}, {ID: "b", SHA256: hashSecret("two")}, {ID: "c"}}
	for secret, want := range map[string]string{"one": "a", "two": "b"} {
		if c := findBySecret(credentials, secret); c == nil || c.ID != want {
			t.Errorf("%q: %+v", secret, c)
		}
	}
	for _, secret := range []string{"", "three", "one ", hashSecret("one")} {
		if c := findBySecret(credentials, secret); c != nil {
			t.Errorf("%q: %+v", secret, c)
		}
	}
	if c := findBySecret([]documents.Credential{{ID: "empty", SHA256: hashSecret("")}}, ""); c != nil {
		t.Error("a client without a secret has a credential")
	}
}

func TestARetryReplacesThePendingCredentialAndLeavesTheActiveOne(t *testing.T) {
	active := documents.Credential{ID: "a", State: documents.CredentialActive}
	first := addPending([]documents.Credential{active}, documents.Credential{ID: "p1", State: documents.CredentialPending})
	second := addPending(first, documents.Credential{ID: "p2", State: documents.CredentialPending})
	want := []documents.Credential{{ID: "p2", State: documents.CredentialPending}, active}
	if !reflect.DeepEqual(second, want) {
		t.Errorf("%+v", second)
	}
	if len(first) != 2 || first[0].ID != "p1" || first[1] != active {
		t.Errorf("the list that was given is now %+v", first)
	}
	if c := findByState(second, documents.CredentialActive); c == nil || c.ID != "a" {
		t.Errorf("the Active one is %+v", c)
	}
	if c := findByState(nil, documents.CredentialActive); c != nil {
		t.Errorf("of none %+v", c)
	}
}

func TestAnActivatedCredentialIsTheOnlyOneThatDoesNotRetire(t *testing.T) {
	retiring := documents.Credential{ID: "r", SHA256: "r", State: documents.CredentialRetiring, RetireAfter: 9, Source: "uid/5"}
	before := []documents.Credential{
		{ID: "p", SHA256: "h", State: documents.CredentialPending, NotBefore: 5}, {ID: "a", SHA256: "a", State: documents.CredentialActive}, retiring,
	}
	source := credentialSource{written: secretVersion{uid: "uid", resourceVersion: "7"}}
	old := retirement{at: time.Unix(100, 0), overlap: time.Minute}
	want := []documents.Credential{
		{ID: "p", SHA256: "h", State: documents.CredentialActive, NotBefore: 5, Source: "uid/7"},
		{ID: "a", SHA256: "a", State: documents.CredentialRetiring, RetireAfter: 160}, retiring,
	}
	if got := activate(before, "p", source, old); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	want = []documents.Credential{{ID: "r", SHA256: "r", State: documents.CredentialActive, Source: "uid/7"}, want[1]}
	if got := activate(before, "r", source, old); !reflect.DeepEqual(got, want) {
		t.Errorf("one that retired is %+v", got)
	}
}

func TestASourceNamesOneVersionOfOneSecret(t *testing.T) {
	secret := &metav1.ObjectMeta{UID: "u", ResourceVersion: "7"}
	for text, v := range map[string]secretVersion{"": {}, "u/7": versionOf(secret, ""), "u/7/password": versionOf(secret, "password")} {
		if got := v.String(); got != text {
			t.Error(got)
		}
		if got := parseSecretVersion(text); got != v {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}

func TestTheSourceOfACredentialIsReadAsItWasWritten(t *testing.T) {
	read, written := secretVersion{uid: "u", resourceVersion: "7", detail: "key"}, secretVersion{uid: "w", resourceVersion: "9"}
	for text, source := range map[string]credentialSource{
		"": {}, "w/9": {written: written}, "u/7/key": {read: read}, "u/7/key w/9": {read: read, written: written},
		"revision=3 replaced=5 u/7/key w/9": {read, written, 3, 5}, "revision=5": {revision: 5}, "replaced=5": {replaced: 5},
	} {
		if got := source.String(); got != text {
			t.Errorf("%+v is written as %q", source, got)
		}
		if got := parseCredentialSource(text); got != source {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}

func TestASecretOfSomebodyElseIsRefusedIfItIsWeakOrNoClientSecret(t *testing.T) {
	random := strings.Repeat("0123456789abcdef", 2)
	for value, want := range map[string]struct {
		reason, problem string
	}{
		random:                     {"", ""},
		random + " ~!\"\\":         {"", ""},
		strings.Repeat("a", 1024):  {"", ""},
		random[:31]:                {v1alpha1.ReasonWeakSecret, "is shorter than 32 characters"},
		"":                         {v1alpha1.ReasonWeakSecret, "is shorter than 32 characters"},
		strings.Repeat("a", 1025):  {v1alpha1.ReasonInvalid, "is longer than 1024 characters"},
		random + "\n":              {v1alpha1.ReasonInvalid, "a line break at its end"},
		random + "\x7f":            {v1alpha1.ReasonInvalid, "other than printable ASCII"},
		random + "\x00":            {v1alpha1.ReasonInvalid, "other than printable ASCII"},
		strings.Repeat("ü", 32):    {v1alpha1.ReasonInvalid, "other than printable ASCII"},
		"\t" + random:              {v1alpha1.ReasonInvalid, "other than printable ASCII"},
		random + "\xff" + "\u2028": {v1alpha1.ReasonInvalid, "other than printable ASCII"},
	} {
		reason, problem := compile.FindSecretProblem(value)
		if reason != want.reason || (problem == "") != (want.problem == "") || !strings.Contains(problem, want.problem) {
			t.Errorf("%q: reason %q, %q", value, reason, problem)
		}
		if value != "" && strings.Contains(problem, value) {
			t.Errorf("the message quotes the secret: %s", problem)
		}
	}
}
