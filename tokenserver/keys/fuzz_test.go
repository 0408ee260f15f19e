package keys

import (
	"strings"
	"testing"
)

// Whatever is presented, only what was sealed for the purpose opens. Every value that was sealed has one spelling.
func FuzzOpen(f *testing.F) {
	m := makeKeys(f, "https://a.example")
	s := m.set(f)
	sealed := map[Purpose]string{}
	for _, p := range purposes {
		value, err := s.Seal(p, []byte(`{"g":"grant of `+string(p)+`"}`))
		if err != nil {
			f.Fatal(err)
		}
		sealed[p] = value
		f.Add(value, string(p))
		f.Add(value[:len(value)-1], string(p))
		f.Add(value+"A", string(p))
		f.Add(strings.ToUpper(value), string(p))
	}
	kid := m.kid(sealing)
	for _, seed := range []string{"", ".", kid + ".", kid + ".AAAA", "." + sealed[PurposeCode], kid + "." + strings.Repeat("A", 60), kid + ".=\r\n", m.kid(es256) + ".AAAA"} {
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

// Whatever is presented, only what was signed verifies, and only as its type. Claims of anything else are not read.
func FuzzVerify(f *testing.F) {
	m := makeKeys(f, "https://a.example")
	s := m.set(f)
	signed := map[string]string{} // type by header and claims
	for _, alg := range []string{"ES256", "RS256"} {
		for _, typ := range []string{"JWT", "at+jwt"} {
			token := mustSign(f, s, alg, typ)
			dot := strings.LastIndexByte(token, '.')
			signed[token[:dot]] = typ
			f.Add(token, typ)
			f.Add(token[:dot+1], typ)
			f.Add(token[:len(token)-1], typ)
			f.Add(token+".", typ)
			f.Add(strings.Replace(token, "e", "E", 1), typ)
		}
		f.Add(forge(map[string]any{"alg": "none", "kid": m.kid(rs256), "typ": "JWT"}, func(string) []byte { return nil }), "JWT")
		f.Add(forge(map[string]any{"alg": alg, "kid": m.kid(es256), "typ": "JWT", "crit": []string{"x"}}, func(string) []byte { return make([]byte, 64) }), "JWT")
	}
	for _, seed := range []string{"", "..", "e30.e30.", "a.b.c.d", "\n.\n.\n", strings.Repeat("A", maxToken) + ".."} {
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
