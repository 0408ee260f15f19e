package registration

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestADocumentIsReadAsItWasWritten(t *testing.T) {
	want := Client{
		UID: "u", Namespace: "shop", Name: "web", ID: "shop.web", GrantTypes: []string{"implicit"}, AuthMethod: "none",
		RedirectURIs: []string{"https://a.example/cb?x=<&>"}, PKCE: PKCERequired, Consent: ConsentRequired, IDTokenAlg: "RS256",
	}
	document, err := Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode[Client](FormatClient, document)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Decode = %+v, %v, want %+v", got, err, want)
	}
}

func TestADocumentOfANewerVersionMayHaveMoreFields(t *testing.T) {
	got, err := Decode[Namespace](FormatNamespace, `{"name":"shop","later":{"x":[1]}} `)
	if err != nil || got.Name != "shop" {
		t.Errorf("Decode = %+v, %v", got, err)
	}
}

func TestADocumentIsRefusedThatIsNotOneDocumentOfItsFormat(t *testing.T) {
	for _, document := range []string{"", "{", `{"uid":"a"} {"uid":"b"}`, `{"uid":"a"}x`, `[]`, `{"uid":7}`, `"x"`} {
		got, err := Decode[User](FormatUser, document)
		if err == nil || !reflect.DeepEqual(got, User{}) {
			t.Errorf("Decode(%q) = %+v, %v", document, got, err)
		}
	}
	for _, format := range []string{"", "user/v2", FormatClient} {
		if _, err := Decode[User](format, `{"uid":"a"}`); !errors.Is(err, ErrFormat) {
			t.Errorf("Decode of format %q: %v, want ErrFormat", format, err)
		}
	}
}

func TestAnErrorAboutADocumentDoesNotQuoteIt(t *testing.T) {
	for _, document := range []string{`{"passwordHash":{"$argon2id$secret":1}}`, `{"passwordHash":"$argon2id$secret`, `{"uid":"a"} $argon2id$secret`} {
		_, err := Decode[User](FormatUser, document)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("Decode(%q): %v", document, err)
		}
	}
}

func TestNumbersInClaimsKeepTheirDigits(t *testing.T) {
	const document = `{"uid":"u","subject":"s","username":"a","passwordHash":"","epoch":"","claims":{"employee":9007199254740993,"level":1.50}}`
	user, err := Decode[User](FormatUser, document)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Encode(user); err != nil || again != document {
		t.Errorf("read and written again: %s, %v", again, err)
	}
}
