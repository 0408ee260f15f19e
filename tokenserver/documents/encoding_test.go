package documents

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

func TestADocumentWithAFieldThatTheReaderDoesNotKnowIsRefused(t *testing.T) {
	for document, decode := range map[string]func(string) (any, error){
		`{"id":"shop.web","tokensNotBefore":1}`:             read[Client](FormatClient),
		`{"credentials":[{"id":"a","revoked":true}]}`:       read[Client](FormatClient),
		`{"allowedClients":[{"name":"a","legacyUntil":1}]}`: read[Server](FormatServer),
		`{"name":"shop","later":{"secret":[1]}}`:            read[Namespace](FormatNamespace),
	} {
		doc, err := decode(document)
		if err == nil || !reflect.ValueOf(doc).IsZero() {
			t.Errorf("Decode(%s) = %+v, %v", document, doc, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error quotes the document: %v", err)
		}
	}
	if _, err := Decode[User](FormatUser, `{"claims":{"anything":{"goes":1}}}`); err != nil {
		t.Errorf("free JSON: %v", err)
	}
}

func read[T any](format string) func(string) (any, error) {
	return func(document string) (any, error) { return Decode[T](format, document) }
}

func TestADocumentIsRefusedThatIsNotOneDocumentOfItsFormat(t *testing.T) {
	for _, document := range []string{"", "{", `{"uid":"a"} {"uid":"b"}`, `{"uid":"a"}x`, `[]`, `{"uid":7}`, `"x"`} {
		got, err := Decode[User](FormatUser, document)
		if err == nil || !reflect.DeepEqual(got, User{}) {
			t.Errorf("Decode(%q) = %+v, %v", document, got, err)
		}
	}
	for _, format := range []string{"", "user/v9", FormatClient} {
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
