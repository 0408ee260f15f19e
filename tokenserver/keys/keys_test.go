package keys

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// testKeys are a directory of keys and the document that lists them, with one Active key of each
// kind, as a new server has them.
type testKeys struct {
	dir string
	doc documents.Server
}

// kid returns the kid of the nth key in the document.
func (m testKeys) kid(n int) string { return m.doc.Keys[n].KID }

const (
	es256 = iota
	rs256
	sealing
)

func makeKeys(t testing.TB, issuer string) testKeys {
	t.Helper()
	m := testKeys{dir: t.TempDir(), doc: documents.Server{Issuer: issuer, Algorithms: []string{"ES256", "RS256"}}}
	m.addSigning(t, "ES256", documents.KeyActive)
	m.addSigning(t, "RS256", documents.KeyActive)
	m.addSealing(t, documents.KeyActive)
	return m
}

func (m *testKeys) addSigning(t testing.TB, alg, phase string) {
	t.Helper()
	kid, content, err := GenerateSigning(alg, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m.write(t, kid+".pem", content)
	m.doc.Keys = append(m.doc.Keys, documents.Key{KID: kid, Algorithm: alg, Phase: phase})
}

func (m *testKeys) addSealing(t testing.TB, phase string) {
	t.Helper()
	kid, content, err := GenerateSealing(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m.write(t, kid+".sealing", content)
	m.doc.Keys = append(m.doc.Keys, documents.Key{KID: kid, Algorithm: documents.AlgorithmSealing, Phase: phase})
}

func (m *testKeys) write(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (m *testKeys) newSet(t testing.TB) *Set {
	t.Helper()
	s := NewSet(rand.Reader)
	if err := s.LoadDir(m.dir); err != nil {
		t.Fatal(err)
	}
	if missing := s.SetDocument(m.doc); len(missing) != 0 {
		t.Fatalf("missing %v", missing)
	}
	return s
}

// withPhase returns the document with another phase of one key.
func (m *testKeys) withPhase(n int, phase string) documents.Server {
	doc := m.doc
	doc.Keys = slices.Clone(doc.Keys)
	doc.Keys[n].Phase = phase
	return doc
}

func (m *testKeys) withRevoked(n int) documents.Server {
	doc := m.doc
	doc.RevokedKeys = []string{m.kid(n)}
	return doc
}

type claims struct {
	Subject string `json:"sub"`
	URL     string `json:"url,omitempty"`
}

func mustSign(t testing.TB, s *Set, alg, typ string) string {
	t.Helper()
	token, err := s.Sign(alg, typ, claims{Subject: "alice", URL: "https://x/?a&b"})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestATokenOfEachAlgorithmVerifiesHereAndWithALibrary(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	s := m.newSet(t)
	for n, alg := range []string{"ES256", "RS256"} {
		token := mustSign(t, s, alg, "at+jwt")
		var got claims
		if err := s.Verify(token, "at+jwt", &got); err != nil || got.Subject != "alice" {
			t.Errorf("%s: %+v, %v", alg, got, err)
		}
		parsed, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return s.Ring().signing[m.kid(n)].key.Public(), nil }, jwt.WithValidMethods([]string{alg}))
		if err != nil || parsed.Header["kid"] != m.kid(n) || parsed.Header["typ"] != "at+jwt" || parsed.Header["alg"] != alg {
			t.Errorf("%s: %v, %v", alg, parsed.Header, err)
		}
	}
}

func TestATokenOfAnotherTypeIsRefused(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	s := m.newSet(t)
	for typ, other := range map[string]string{"at+jwt": "JWT", "JWT": "at+jwt", "AT+JWT": "at+jwt", "application/at+jwt": "at+jwt"} {
		if err := s.Verify(mustSign(t, s, "ES256", typ), other, &claims{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("a token of type %q as %q: %v", typ, other, err)
		}
	}
}

// forge returns a token with any header and the signature that sign returns.
func forge(header map[string]any, sign func(signed string) []byte) string {
	head, _ := json.Marshal(header)
	signed := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"mallory"}`))
	return signed + "." + base64.RawURLEncoding.EncodeToString(sign(signed))
}

func TestAForgedTokenIsRefused(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	s := m.newSet(t)
	key := s.Ring().signing[m.kid(rs256)]
	public, err := x509.MarshalPKIXPublicKey(key.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	nothing := func(string) []byte { return nil }
	with := func(method jwt.SigningMethod, secret any) func(string) []byte {
		return func(signed string) []byte {
			signature, err := method.Sign(signed, secret)
			if err != nil {
				t.Fatal(err)
			}
			return signature
		}
	}
	kid := m.kid(rs256)
	good := mustSign(t, s, "ES256", "JWT")
	head, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	for name, token := range map[string]string{
		"alg none":                       forge(map[string]any{"alg": "none", "kid": kid, "typ": "JWT"}, nothing),
		"no alg":                         forge(map[string]any{"kid": kid, "typ": "JWT"}, nothing),
		"HS256 with the public key":      forge(map[string]any{"alg": "HS256", "kid": kid, "typ": "JWT"}, with(jwt.SigningMethodHS256, publicPEM)),
		"PS256 with the RS256 key":       forge(map[string]any{"alg": "PS256", "kid": kid, "typ": "JWT"}, with(jwt.SigningMethodPS256, key.key)),
		"RS512 with the RS256 key":       forge(map[string]any{"alg": "RS512", "kid": kid, "typ": "JWT"}, with(jwt.SigningMethodRS512, key.key)),
		"RS256 said, PS256 done":         forge(map[string]any{"alg": "RS256", "kid": kid, "typ": "JWT"}, with(jwt.SigningMethodPS256, key.key)),
		"the kid of the other algorithm": forge(map[string]any{"alg": "RS256", "kid": m.kid(es256), "typ": "JWT"}, with(jwt.SigningMethodRS256, key.key)),
		"no kid":                         forge(map[string]any{"alg": "RS256", "typ": "JWT"}, with(jwt.SigningMethodRS256, key.key)),
		"unknown kid":                    forge(map[string]any{"alg": "RS256", "kid": "../x", "typ": "JWT"}, with(jwt.SigningMethodRS256, key.key)),
		"a critical extension":           forge(map[string]any{"alg": "RS256", "kid": kid, "typ": "JWT", "crit": []string{"b64"}, "b64": false}, with(jwt.SigningMethodRS256, key.key)),
		"a member more":                  forge(map[string]any{"alg": "RS256", "kid": kid, "typ": "JWT", "z": 1}, with(jwt.SigningMethodRS256, key.key)),
		"no typ":                         forge(map[string]any{"alg": "RS256", "kid": kid}, with(jwt.SigningMethodRS256, key.key)),
		"another body":                   head + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"mallory"}`)) + "." + signature,
		"no signature":                   head + "." + body + ".",
		"a line break in the signature":  head + "." + body + "." + signature[:10] + "\n" + signature[10:],
		"a line break in the body":       head + "." + body[:4] + "\r\n" + body[4:] + "." + signature,
		"two parts":                      head + "." + body,
		"four parts":                     good + ".x",
		"empty":                          "",
		"dots":                           "..",
		"very long":                      good + strings.Repeat("A", maxTokenSize),
	} {
		got := claims{}
		if err := s.Verify(token, "JWT", &got); !errors.Is(err, ErrInvalid) || got.Subject != "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	honest := forge(map[string]any{"alg": "RS256", "kid": kid, "typ": "JWT"}, with(jwt.SigningMethodRS256, key.key))
	if err := s.Verify(honest, "JWT", &claims{}); err != nil {
		t.Errorf("the forger's tool makes nothing that is accepted: %v", err)
	}
}

func TestARevokedKeyIsRefusedAtOnce(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	m.addSigning(t, "ES256", documents.KeyPublished)
	s := m.newSet(t)
	token := mustSign(t, s, "ES256", "JWT")
	sealed, err := s.Seal(PurposeCode, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}

	s.SetDocument(m.withRevoked(es256))
	if err := s.Verify(token, "JWT", &claims{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("its token: %v", err)
	}
	if bytes.Contains(s.JWKS(), []byte(m.kid(es256))) {
		t.Error("it is still in the JWKS")
	}
	if _, err := s.Sign("ES256", "JWT", claims{}); !errors.Is(err, ErrNoKey) {
		t.Errorf("it still signs, or the Published one does before its time: %v", err)
	}
	if s.Problem() == "" {
		t.Error("an algorithm without an Active key is no problem")
	}

	s.SetDocument(m.withRevoked(sealing))
	if _, err := s.Open(PurposeCode, sealed); !errors.Is(err, ErrInvalid) {
		t.Errorf("what it sealed: %v", err)
	}
	if _, err := s.Seal(PurposeCode, nil); !errors.Is(err, ErrNoKey) {
		t.Errorf("it still seals: %v", err)
	}
	if _, err := s.SealDeterministic(PurposeRefresh, m.kid(sealing), nil); !errors.Is(err, ErrNoKey) {
		t.Errorf("it still seals deterministically: %v", err)
	}

	s.SetDocument(m.doc)
	if err := s.Verify(token, "JWT", &claims{}); err != nil {
		t.Errorf("when it is revoked no more: %v", err)
	}
}

func TestAKeyDoesWhatItsPhaseSays(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	s := m.newSet(t)
	token := mustSign(t, s, "ES256", "JWT")
	sealed, err := s.Seal(PurposeCode, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for _, phase := range []string{documents.KeyPublished, documents.KeyRetiring} {
		s.SetDocument(m.withPhase(es256, phase))
		if _, err := s.Sign("ES256", "JWT", claims{}); !errors.Is(err, ErrNoKey) {
			t.Errorf("a %s key signs: %v", phase, err)
		}
		if err := s.Verify(token, "JWT", &claims{}); err != nil {
			t.Errorf("a token of a %s key: %v", phase, err)
		}
		if !bytes.Contains(s.JWKS(), []byte(m.kid(es256))) {
			t.Errorf("a %s key is not in the JWKS", phase)
		}
		s.SetDocument(m.withPhase(sealing, phase))
		if _, err := s.Seal(PurposeCode, nil); !errors.Is(err, ErrNoKey) {
			t.Errorf("a %s key seals: %v", phase, err)
		}
		if _, err := s.Open(PurposeCode, sealed); err != nil {
			t.Errorf("what a %s key sealed: %v", phase, err)
		}
	}
	for n, gone := range map[string]documents.Server{"an unknown phase": m.withPhase(es256, "Gone"), "no entry": {Issuer: "https://a.example"}} {
		s.SetDocument(gone)
		if err := s.Verify(token, "JWT", &claims{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("a key with %s verifies: %v", n, err)
		}
	}
}

func TestTheJWKSHasPublicMembersOnlyAndUniqueKids(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	m.addSigning(t, "RS256", documents.KeyPublished)
	m.doc.Keys = append(m.doc.Keys, m.doc.Keys[0])
	s := m.newSet(t)
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(s.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 3 {
		t.Errorf("%d keys, want 3: the sealing key is none of them", len(set.Keys))
	}
	members := map[string][]string{
		"EC": {"alg", "crv", "kid", "kty", "use", "x", "y"}, "RSA": {"alg", "e", "kid", "kty", "n", "use"},
	}
	kids := map[string]bool{}
	for _, key := range set.Keys {
		if got := slices.Sorted(maps.Keys(key)); !slices.Equal(got, members[key["kty"]]) {
			t.Errorf("members %v", got)
		}
		if key["use"] != "sig" || kids[key["kid"]] {
			t.Errorf("key %v", key)
		}
		kids[key["kid"]] = true
	}
	if x, err := base64.RawURLEncoding.DecodeString(set.Keys[0]["x"]); err != nil || len(x) != 32 {
		t.Errorf("x has %d bytes, %v (RFC 7518 section 6.2.1.2)", len(x), err)
	}
	if set.Keys[1]["e"] != "AQAB" {
		t.Errorf("e = %q", set.Keys[1]["e"])
	}
}

func TestASealedValueOfOnePurposeIsRefusedAsAnyOther(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	s := m.newSet(t)
	for _, purpose := range purposes {
		random, err := s.Seal(purpose, []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		same, err := s.SealDeterministic(purpose, m.kid(sealing), []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		for _, sealed := range []string{random, same} {
			for _, as := range purposes {
				got, err := s.Open(as, sealed)
				if as == purpose && (err != nil || string(got) != "secret") {
					t.Errorf("a %s: %q, %v", purpose, got, err)
				}
				if as != purpose && (!errors.Is(err, ErrInvalid) || got != nil) {
					t.Errorf("a %s as a %s: %q, %v", purpose, as, got, err)
				}
			}
		}
	}
	if _, err := s.Seal("other", nil); !errors.Is(err, ErrNoKey) {
		t.Errorf("an unknown purpose: %v", err)
	}
	if _, err := s.Open("other", ""); !errors.Is(err, ErrInvalid) {
		t.Errorf("an unknown purpose: %v", err)
	}
}

func TestASealedValueOfAnotherIssuerIsRefusedAlsoUnderTheSameKey(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	a, b := m.newSet(t), m.newSet(t)
	other := m.doc
	other.Issuer = "https://b.example"
	b.SetDocument(other)
	sealed, err := a.Seal(PurposeSession, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open(PurposeSession, sealed); !errors.Is(err, ErrInvalid) {
		t.Errorf("opened under another issuer: %v", err)
	}
	// A key and a nonce must not authenticate two different values.
	one, err1 := a.SealDeterministic(PurposeRefresh, m.kid(sealing), []byte("x"))
	two, err2 := b.SealDeterministic(PurposeRefresh, m.kid(sealing), []byte("x"))
	if err1 != nil || err2 != nil || nonceOf(t, one) == nonceOf(t, two) {
		t.Errorf("two issuers share a nonce: %q, %q", one, two)
	}
}

func nonceOf(t *testing.T, sealed string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(sealed[strings.LastIndexByte(sealed, '.')+1:])
	if err != nil {
		t.Fatal(err)
	}
	return string(raw[:24])
}

func TestDeterministicSealingIsByteIdenticalUnderTheKeyThatIsNamed(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	s := m.newSet(t)
	first, err := s.SealDeterministic(PurposeRefresh, m.kid(sealing), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	kid := m.kid(sealing)
	m.doc = m.withPhase(sealing, documents.KeyRetiring)
	m.addSealing(t, documents.KeyActive)
	restarted := m.newSet(t) // with another Active key
	second, err := restarted.SealDeterministic(PurposeRefresh, kid, []byte("x"))
	if err != nil || first != second {
		t.Errorf("%q and %q, %v", first, second, err)
	}
	if other, err := s.SealDeterministic(PurposeRefresh, kid, []byte("y")); err != nil || nonceOf(t, other) == nonceOf(t, first) {
		t.Errorf("another plaintext has the same nonce: %v", err)
	}
	if _, err := s.SealDeterministic(PurposeRefresh, "unknown", []byte("x")); !errors.Is(err, ErrNoKey) {
		t.Errorf("an unknown key: %v", err)
	}
	if s.SealingKID() == restarted.SealingKID() || restarted.SealingKID() != m.kid(3) {
		t.Errorf("SealingKID = %q", restarted.SealingKID())
	}
}

func TestRandomSealingNeverRepeats(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	s := m.newSet(t)
	a, err1 := s.Seal(PurposeCode, []byte("x"))
	b, err2 := s.Seal(PurposeCode, []byte("x"))
	if err1 != nil || err2 != nil || nonceOf(t, a) == nonceOf(t, b) {
		t.Errorf("%q, %q, %v, %v", a, b, err1, err2)
	}
	dry := NewSet(io.LimitReader(rand.Reader, 10))
	if err := dry.LoadDir(m.dir); err != nil {
		t.Fatal(err)
	}
	dry.SetDocument(m.doc)
	if sealed, err := dry.Seal(PurposeCode, []byte("x")); err == nil {
		t.Errorf("sealed %q without randomness", sealed)
	}
}

func TestASealedValueThatWasChangedIsRefused(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	s := m.newSet(t)
	sealed, err := s.Seal(PurposeCode, []byte("some plaintext"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		changed := []byte(sealed)
		if changed[i]++; changed[i] == '.' {
			changed[i]++
		}
		if _, err := s.Open(PurposeCode, string(changed)); !errors.Is(err, ErrInvalid) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	kid, value, _ := strings.Cut(sealed, ".")
	for name, other := range map[string]string{
		"empty": "", "no kid": value, "empty kid": "." + value, "no value": kid + ".", "short": kid + ".AAAA", "padded": sealed + "=",
		"longer": sealed + "A", "line break": kid + "." + value[:8] + "\n" + value[8:], "standard base64": kid + ".+/+/",
		"very long": kid + "." + strings.Repeat("A", maxSealedSize),
	} {
		if _, err := s.Open(PurposeCode, other); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAServerWithoutAnActiveKeySaysWhichIsMissing(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	s := NewSet(rand.Reader)
	if s.Problem() == "" {
		t.Error("an empty set has no problem")
	}
	if missing := s.SetDocument(m.doc); len(missing) != 3 {
		t.Errorf("missing %v before the files are read", missing)
	}
	if !strings.Contains(s.Problem(), m.kid(es256)) {
		t.Errorf("Problem = %q", s.Problem())
	}
	if err := s.LoadDir(m.dir); err != nil {
		t.Fatal(err)
	}
	if s.Problem() != "" {
		t.Errorf("Problem = %q with all keys", s.Problem())
	}
	standby := m.doc
	standby.Keys = append(slices.Clone(standby.Keys), documents.Key{KID: "es256-new", Algorithm: "ES256", Phase: documents.KeyPublished})
	if missing := s.SetDocument(standby); !slices.Equal(missing, []string{"es256-new"}) || s.Problem() != "" {
		t.Errorf("a Published key that is not held: missing %v, problem %q", missing, s.Problem())
	}
	wrong := m.doc
	wrong.Keys = slices.Clone(wrong.Keys)
	wrong.Keys[0].Algorithm = "RS256"
	if missing := s.SetDocument(wrong); !slices.Equal(missing, []string{m.kid(es256)}) {
		t.Errorf("a key of another algorithm than listed: missing %v", missing)
	}
}

func TestKeysAreReadAgainWhenTheDirectoryChanges(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	s := m.newSet(t)
	before := s.Ring()
	if err := s.LoadDir(m.dir); err != nil || s.Ring() != before {
		t.Errorf("an unchanged directory makes another ring: %v", err)
	}
	m.addSigning(t, "ES256", documents.KeyPublished)
	if err := s.LoadDir(m.dir); err != nil || !slices.Contains(s.LoadedKIDs(), m.kid(3)) || len(s.LoadedKIDs()) != 4 {
		t.Errorf("held %v, %v", s.LoadedKIDs(), err)
	}
	if err := s.LoadDir(filepath.Join(m.dir, "gone")); err == nil || len(s.LoadedKIDs()) != 4 {
		t.Errorf("a directory that cannot be read: held %v, %v", s.LoadedKIDs(), err)
	}
}

func TestAProjectedSecretIsReadThroughItsLink(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	volume := t.TempDir()
	version := filepath.Join(volume, "..2026_01")
	if err := os.Rename(m.dir, version); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..2026_01", filepath.Join(volume, "..data")); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(version)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Symlink(filepath.Join("..data", e.Name()), filepath.Join(volume, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	s := NewSet(rand.Reader)
	if err := s.LoadDir(volume); err != nil || len(s.LoadedKIDs()) != 3 {
		t.Errorf("held %v, %v", s.LoadedKIDs(), err)
	}
}

func TestAFileThatIsNoKeyHurtsNoOther(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	weak := []byte("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
	for name, content := range map[string][]byte{
		"bad.pem": []byte("secret"), "weak.pem": weak, "short.sealing": []byte("c2VjcmV0"), "text.sealing": []byte("secret!"), ".sealing": make([]byte, 44),
		"note.txt": []byte("not a key"), "..hidden.pem": []byte("secret"),
	} {
		m.write(t, name, content)
	}
	s := NewSet(rand.Reader)
	err := s.LoadDir(m.dir)
	if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "note.txt") {
		t.Errorf("LoadDir: %v", err)
	}
	for _, name := range []string{"bad.pem", "weak.pem", "short.sealing", "text.sealing"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("LoadDir does not name %s: %v", name, err)
		}
	}
	s.SetDocument(m.doc)
	if len(s.LoadedKIDs()) != 3 || s.Problem() != "" {
		t.Errorf("held %v, problem %q", s.LoadedKIDs(), s.Problem())
	}
	if again := s.LoadDir(m.dir); again == nil {
		t.Error("the complaint is forgotten while the file is still there")
	}
}

func TestReadersSeeOneRingOrTheNext(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	s := m.newSet(t)
	token := mustSign(t, s, "ES256", "JWT")
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				ring := s.Ring()
				published := bytes.Contains(ring.jwks, []byte(m.kid(es256)))
				if verified := ring.Verify(token, "JWT", &claims{}) == nil; verified != published {
					t.Errorf("verified %v, published %v", verified, published)
					return
				}
			}
		})
	}
	for range 100 {
		s.SetDocument(m.withRevoked(es256))
		s.SetDocument(m.doc)
	}
	close(done)
	readers.Wait()
}

func TestGeneratedKeysHaveDistinctKidsOfSafeCharacters(t *testing.T) {
	m := makeKeys(t, "https://a.example")
	m.addSigning(t, "ES256", documents.KeyPublished)
	m.addSealing(t, documents.KeyPublished)
	kids := map[string]bool{}
	for _, k := range m.doc.Keys {
		if strings.Trim(k.KID, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || kids[k.KID] {
			t.Errorf("kid %q", k.KID)
		}
		kids[k.KID] = true
	}
	if _, _, err := GenerateSigning("none", rand.Reader); err == nil {
		t.Error("a key for an unknown algorithm")
	}
	if _, _, err := GenerateSealing(bytes.NewReader(make([]byte, 39))); err == nil {
		t.Error("a sealing key without enough randomness")
	}
}
