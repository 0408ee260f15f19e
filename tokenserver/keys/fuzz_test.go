package keys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// newFixedSet returns keys that are the same in every process, so that the processes of a fuzzer
// can exchange inputs.
func newFixedSet(f *testing.F) *Set {
	f.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{1}, 32))
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	m := testKeys{dir: f.TempDir(), doc: documents.Server{Issuer: "https://a.example", Algorithms: []string{"ES256"}, Keys: []documents.Key{
		{KID: "signs", Algorithm: "ES256", Phase: documents.KeyActive},
		{KID: "seals", Algorithm: documents.AlgorithmSealing, Phase: documents.KeyActive},
	}}}
	m.write(f, "signs.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	m.write(f, "seals.sealing", []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))))
	return m.newSet(f)
}

// Only what was sealed for the purpose opens, and each sealed value has one spelling.
func FuzzOpen(f *testing.F) {
	s := newFixedSet(f)
	sealed := map[Purpose]string{}
	for _, p := range purposes {
		value, err := s.SealDeterministic(p, "seals", []byte(`{"g":"grant of `+string(p)+`"}`))
		if err != nil {
			f.Fatal(err)
		}
		sealed[p] = value
		f.Add(value, string(p))
		f.Add(value[:len(value)-1], string(p))
		f.Add(value+"A", string(p))
		f.Add(strings.ToUpper(value), string(p))
	}
	for _, seed := range []string{"", ".", "seals.", "seals.AAAA", "." + sealed[PurposeCode], "seals." + strings.Repeat("A", 60), "seals.=\r\n", "signs.AAAA"} {
		f.Add(seed, string(PurposeCode))
	}
	f.Fuzz(func(t *testing.T, value, purpose string) {
		plain, err := s.Open(Purpose(purpose), value)
		switch {
		case err == nil && value != sealed[Purpose(purpose)]:
			t.Errorf("%q opens as a %s: %q", value, purpose, plain)
		case err != nil && (err != ErrInvalid || plain != nil): //nolint:errorlint // it is said to be the only error
			t.Errorf("the error is %v, beside %q", err, plain)
		case err != nil && value == sealed[Purpose(purpose)] && value != "":
			t.Errorf("what was sealed does not open")
		}
	})
}

// Only what was signed verifies, and only with its typ. The claims of other values are not decoded.
func FuzzVerify(f *testing.F) {
	s := newFixedSet(f)
	signed := map[string]string{} // type by header and claims
	for _, typ := range []string{"JWT", "at+jwt"} {
		token := mustSign(f, s, "ES256", typ)
		dot := strings.LastIndexByte(token, '.')
		signed[token[:dot]] = typ
		f.Add(token, typ)
		f.Add(token[:dot+1], typ)
		f.Add(token[:len(token)-1], typ)
		f.Add(token+".", typ)
		f.Add(strings.Replace(token, "e", "E", 1), typ)
	}
	for _, alg := range []string{"none", "HS256", "RS256", "ES256"} {
		nothing := func(string) []byte { return make([]byte, 64) }
		f.Add(forge(map[string]any{"alg": alg, "kid": "signs", "typ": "JWT"}, nothing), "JWT")
		f.Add(forge(map[string]any{"alg": alg, "kid": "signs", "typ": "JWT", "crit": []string{"x"}}, nothing), "JWT")
	}
	for _, seed := range []string{"", "..", "e30.e30.", "a.b.c.d", "\n.\n.\n", strings.Repeat("A", maxTokenSize) + ".."} {
		f.Add(seed, "at+jwt")
	}
	f.Fuzz(func(t *testing.T, token, typ string) {
		var got claims
		err := s.Verify(token, typ, &got)
		dot := max(strings.LastIndexByte(token, '.'), 0)
		was, ours := signed[token[:dot]]
		switch {
		case err == nil && (!ours || was != typ):
			t.Errorf("%q verifies as %q: %+v", token, typ, got)
		case err != nil && (err != ErrInvalid || got != claims{}): //nolint:errorlint // it is said to be the only error
			t.Errorf("the error is %v, beside %+v", err, got)
		}
	})
}
