package jwks_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
)

var claims = map[string]any{"sub": "shop.web"}

func parse(t *testing.T, set string) jwks.Set {
	t.Helper()
	s, err := jwks.Parse([]byte(set))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func verify(t *testing.T, s jwks.Set, token string) (jwks.Key, error) {
	t.Helper()
	j, err := jwks.ParseJWS(token)
	if err != nil {
		return jwks.Key{}, err
	}
	return s.Verify(j)
}

func TestASignatureOfEachAlgorithmIsVerifiedByItsKeyAlone(t *testing.T) {
	for _, algorithm := range jwkstest.Algorithms {
		signer, other := jwkstest.NewSigner(algorithm, "a"), jwkstest.NewSigner("ES256", "b")
		s := parse(t, jwkstest.SetOf(other, signer))
		token := signer.Sign(t, claims)
		key, err := verify(t, s, token)
		if err != nil || key.ID != "a" || key.Algorithm != algorithm || len(key.Thumbprint) != 43 {
			t.Errorf("%s: %+v, %v", algorithm, key, err)
		}
		if _, err := verify(t, parse(t, jwkstest.SetOf(other)), token); !errors.Is(err, jwks.ErrUnknownKey) {
			t.Errorf("%s, by a key that is not in the set: %v", algorithm, err)
		}
		head, body, _ := strings.Cut(token, ".")
		_, signature, _ := strings.Cut(body, ".")
		if _, err := verify(t, s, head+"."+jwkstest.Encode(t, map[string]any{"sub": "shop.admin"})+"."+signature); !errors.Is(err, jwks.ErrSignature) {
			t.Errorf("%s, with other claims: %v", algorithm, err)
		}
	}
}

// RFC 8725 sections 3.1 and 3.2.
func TestTheAlgorithmIsThatOfTheKeyWhateverTheHeaderSays(t *testing.T) {
	signer := jwkstest.NewSigner("RS256", "a")
	unnamed := signer
	unnamed.JWK.Algorithm = ""
	public := publicPEM(t, signer)
	for _, set := range []string{jwkstest.SetOf(signer), jwkstest.SetOf(unnamed)} {
		s := parse(t, set)
		if _, err := verify(t, s, signer.Sign(t, claims)); err != nil {
			t.Fatal(err)
		}
		for what, token := range map[string]string{
			"none":                      forge(t, "none", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType),
			"None":                      forge(t, "None", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType),
			"HS256 with the public key": forge(t, "HS256", jwt.SigningMethodHS256, public),
			"HS256 with the key set":    forge(t, "HS256", jwt.SigningMethodHS256, []byte(set)),
			"HS256 called RS256":        forge(t, "RS256", jwt.SigningMethodHS256, public),
			"PS256":                     forge(t, "PS256", jwt.SigningMethodPS256, signer.Private),
			"RS512":                     forge(t, "RS512", jwt.SigningMethodRS512, signer.Private),
			"RS256 signed as PS256":     forge(t, "RS256", jwt.SigningMethodPS256, signer.Private),
			"lower case":                forge(t, "rs256", jwt.SigningMethodRS256, signer.Private),
		} {
			if _, err := verify(t, s, token); err == nil {
				t.Errorf("%s is accepted", what)
			}
		}
	}
	ps256 := jwkstest.NewSigner("PS256", "a")
	if _, err := verify(t, parse(t, jwkstest.SetOf(ps256)), forge(t, "RS256", jwt.SigningMethodRS256, ps256.Private)); err == nil {
		t.Error("a key for PS256 verifies RS256")
	}
}

func forge(t *testing.T, alg string, method jwt.SigningMethod, key any) string {
	t.Helper()
	signed := jwkstest.Encode(t, map[string]any{"alg": alg, "kid": "a"}) + "." + jwkstest.Encode(t, claims)
	signature, err := method.Sign(signed, key)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func publicPEM(t *testing.T, s jwkstest.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(s.Private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// RFC 8725 section 3.10, RFC 7515 section 4.1.
func TestKeysAndAddressesInTheHeaderAreIgnored(t *testing.T) {
	registered, attacker := jwkstest.NewSigner("ES256", "a"), jwkstest.NewSigner("ES256", "a")
	s := parse(t, jwkstest.SetOf(registered))
	for name, value := range map[string]any{
		"jwk": attacker.JWK, "jku": "https://attacker.example.com/jwks", "x5u": "https://attacker.example.com/x5u", "x5c": []string{"MIIB"},
		"kid": "../../../dev/null", "x5t": "abc",
	} {
		if _, err := verify(t, s, attacker.Sign(t, claims, map[string]any{name: value})); err == nil {
			t.Errorf("%s in the header makes another key count", name)
		}
		if name != "kid" {
			if _, err := verify(t, s, registered.Sign(t, claims, map[string]any{name: value})); err != nil {
				t.Errorf("%s in the header: %v", name, err)
			}
		}
	}
	if _, err := verify(t, s, registered.Sign(t, claims, map[string]any{"crit": []string{"exp"}, "exp": 1})); !errors.Is(err, jwks.ErrMalformed) {
		t.Errorf("an extension that must be understood: %v", err)
	}
	if _, err := verify(t, s, registered.Sign(t, claims, map[string]any{"crit": []string{}})); !errors.Is(err, jwks.ErrMalformed) {
		t.Errorf("an empty crit: %v", err)
	}
}

func TestWhatIsNoCompactJWSIsMalformed(t *testing.T) {
	token := jwkstest.NewSigner("ES256", "a").Sign(t, claims)
	head, rest, _ := strings.Cut(token, ".")
	for _, value := range []string{
		"", ".", "..", "x", head + "." + rest + ".", head + "." + rest + ".x.y", "{" + token, token + "=", token + "\n", head + "\n." + rest,
		head + ".e30", "e30." + rest, `{"alg":"ES256"}.` + rest, strings.Repeat("a", jwks.MaxSize) + token,
		base64.RawURLEncoding.EncodeToString([]byte(`{"ALG":"ES256"}`)) + "." + rest,
		base64.RawURLEncoding.EncodeToString([]byte(`{"alg":["ES256"]}`)) + "." + rest,
		base64.RawURLEncoding.EncodeToString([]byte(`null`)) + "." + rest,
	} {
		if _, err := jwks.ParseJWS(value); !errors.Is(err, jwks.ErrMalformed) {
			t.Errorf("%.40q: %v", value, err)
		}
	}
}

func TestAKidSelectsAndAKeyWithoutOneStandsForAny(t *testing.T) {
	named, unnamed := jwkstest.NewSigner("ES256", "a"), jwkstest.NewSigner("ES256", "")
	for _, test := range []struct {
		what  string
		set   string
		token string
		want  error
	}{
		{"a token without kid", jwkstest.SetOf(jwkstest.NewSigner("ES256", "b"), named), named.Sign(t, claims, map[string]any{"kid": nil}), nil},
		{"a key without kid", jwkstest.SetOf(unnamed), unnamed.Sign(t, claims, map[string]any{"kid": "whatever"}), nil},
		{"a key without kid beside the named one", jwkstest.SetOf(named, unnamed), unnamed.Sign(t, claims, map[string]any{"kid": "a"}), jwks.ErrSignature},
		{"another kid", jwkstest.SetOf(named), named.Sign(t, claims, map[string]any{"kid": "b"}), jwks.ErrUnknownKey},
		{"an empty set", `{"keys":[]}`, named.Sign(t, claims), jwks.ErrUnknownKey},
		{"no kid and no key that fits", jwkstest.SetOf(jwkstest.NewSigner("ES256", "b")), named.Sign(t, claims, map[string]any{"kid": nil}), jwks.ErrUnknownKey},
	} {
		if _, err := verify(t, parse(t, test.set), test.token); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.what, err, test.want)
		}
	}
}

func TestAtMostThreeKeysAreTriedForOneSignature(t *testing.T) {
	var signers []jwkstest.Signer
	for range 4 {
		signers = append(signers, jwkstest.NewSigner("ES256", "a"))
	}
	s := parse(t, jwkstest.SetOf(signers...))
	for i, signer := range signers {
		if _, err := verify(t, s, signer.Sign(t, claims)); (err == nil) != (i < 3) {
			t.Errorf("key %d: %v", i, err)
		}
	}
}

func TestKeysThatCannotBeUsedAreLeftOut(t *testing.T) {
	good := jwkstest.NewSigner("ES256", "good")
	private := toMap(t, jwkstest.NewSigner("ES256", "private").JWK)
	private["d"] = "AAAA"
	for what, key := range badKeys(t) {
		if s := parse(t, `{"keys":[`+encode(t, key)+`,`+encode(t, good.JWK)+`]}`); s.Len() != 1 {
			t.Errorf("%s: the set has %d keys, want the other one", what, s.Len())
		}
	}
	if s := parse(t, jwkstest.SetOf(good, good)); s.Len() != 1 {
		t.Error("a key that is listed twice counts twice")
	}
}

// badKeys returns keys of which none can be used.
func badKeys(t *testing.T) map[string]any {
	t.Helper()
	ec, rsa2048 := toMap(t, jwkstest.NewSigner("ES256", "a").JWK), toMap(t, jwkstest.NewSigner("RS256", "a").JWK)
	okp := toMap(t, jwkstest.NewSigner("EdDSA", "a").JWK)
	with := func(key map[string]any, name string, value any) map[string]any {
		key = maps.Clone(key)
		key[name] = value
		return key
	}
	number := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	odd := func(bits uint) string {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return number(n.Add(n, big.NewInt(1)))
	}
	return map[string]any{
		"RSA 1024":             with(rsa2048, "n", odd(1024)),
		"RSA 2047":             with(rsa2048, "n", odd(2047)),
		"RSA 4097":             with(rsa2048, "n", odd(4097)),
		"RSA 8192":             with(rsa2048, "n", odd(8192)),
		"an even modulus":      with(rsa2048, "n", number(new(big.Int).Lsh(big.NewInt(1), 2047))),
		"e=3":                  with(rsa2048, "e", "Aw"),
		"e=1":                  with(rsa2048, "e", "AQ"),
		"an even e":            with(rsa2048, "e", number(big.NewInt(1<<17))),
		"a large e":            with(rsa2048, "e", number(new(big.Int).Lsh(big.NewInt(1), 64))),
		"no n":                 with(rsa2048, "n", ""),
		"n with padding":       with(rsa2048, "n", rsa2048["n"].(string)+"=="),
		"n that is no string":  with(rsa2048, "n", 7),
		"RSA for HS256":        with(rsa2048, "alg", "HS256"),
		"RSA for ES256":        with(rsa2048, "alg", "ES256"),
		"RSA for RSA-OAEP":     with(rsa2048, "alg", "RSA-OAEP"),
		"for encryption":       with(rsa2048, "use", "enc"),
		"operations":           with(rsa2048, "key_ops", []string{"encrypt"}),
		"a private RSA key":    with(rsa2048, "d", "AAAA"),
		"a prime of one":       with(rsa2048, "p", "AAAA"),
		"a point off the line": with(ec, "x", ec["y"]),
		"a short coordinate":   with(ec, "x", "AAAA"),
		"secp256k1":            with(ec, "crv", "secp256k1"),
		"P-384 by name":        with(ec, "crv", "P-384"),
		"P-256 for ES384":      with(ec, "alg", "ES384"),
		"a private EC key":     with(ec, "d", "AAAA"),
		"Ed448":                with(okp, "crv", "Ed448"),
		"X25519":               with(okp, "crv", "X25519"),
		"a short Ed25519 key":  with(okp, "x", "AAAA"),
		"Ed25519 for ES256":    with(okp, "alg", "ES256"),
		"symmetric":            map[string]any{"kty": "oct", "k": "AAAA", "alg": "HS256"},
		"of another kind":      map[string]any{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"},
		"a long kid":           with(ec, "kid", strings.Repeat("a", 257)),
		"no object":            []string{"x"},
		"null":                 nil,
	}
}

func TestWhatIsNoKeySetIsAnError(t *testing.T) {
	for _, raw := range []string{"", "[]", "{}", `{"keys":{}}`, `{"keys":null}`, "<html>", `{"keys":[]}x`, "null", `{"error":"not found"}`} {
		if _, err := jwks.Parse([]byte(raw)); err == nil {
			t.Errorf("%q is a key set", raw)
		}
	}
	if s, err := jwks.Parse([]byte(`{"keys":[]}`)); err != nil || s.Len() != 0 {
		t.Errorf("an empty set: %v", err)
	}
	var signers []jwkstest.Signer
	for i := range 100 {
		signers = append(signers, jwkstest.NewSigner("ES256", fmt.Sprint(i%7)))
	}
	if _, err := jwks.Parse([]byte(jwkstest.SetOf(signers...))); err == nil {
		t.Error("a set of 100 keys is accepted")
	}
	if _, err := jwks.Parse([]byte(jwkstest.SetOf(signers[:jwks.MaxKeys]...))); err != nil {
		t.Errorf("a set of %d keys: %v", jwks.MaxKeys, err)
	}
}

func TestOfAPrivateKeyOnlyThePublicPartIsTaken(t *testing.T) {
	for _, algorithm := range []string{"RS256", "ES256", "ES384", "ES512", "EdDSA"} {
		signer := jwkstest.NewSigner(algorithm, "a")
		want := signer.JWK
		private := toMap(t, want)
		private["d"], private["p"], private["key_ops"] = "c2VjcmV0LWtleQ", "c2VjcmV0LWtleQ", []string{"sign"}
		unnamed := want
		unnamed.KeyID, unnamed.Algorithm = "", ""
		for what, test := range map[string]struct {
			content string
			want    documents.JWK
		}{
			"a private JWK":     {encode(t, private), want},
			"a private JWK Set": {`{"keys":[` + encode(t, private) + `]}`, want},
			"a public JWK":      {encode(t, want), want},
			"a private key":     {string(signer.PEM()), unnamed},
			"a public key":      {"\n" + string(publicPEM(t, signer)) + "\n", unnamed},
		} {
			keys, err := jwks.PublicPart([]byte(test.content))
			if err != nil || len(keys) != 1 || !reflect.DeepEqual(keys[0], test.want) {
				t.Errorf("%s of %s: %+v, %v", what, algorithm, keys, err)
			}
			if strings.Contains(encode(t, keys), "c2VjcmV0") {
				t.Errorf("%s of %s: the private part is there", what, algorithm)
			}
		}
	}
}

func TestOldFormatsOfPEMAreRead(t *testing.T) {
	rsaKey := jwkstest.NewSigner("RS256", "").Private.(*rsa.PrivateKey)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	for what, content := range map[string][]byte{
		"PKCS #1":        pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}),
		"PKCS #1 public": pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)}),
		"SEC 1": append(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6}}),
			pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})...),
	} {
		if keys, err := jwks.PublicPart(content); err != nil || len(keys) != 1 {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAnErrorAboutAKeyDoesNotQuoteIt(t *testing.T) {
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(weak)
	if err != nil {
		t.Fatal(err)
	}
	for what, content := range map[string]string{
		"nothing":         "",
		"a password":      "c2VjcmV0",
		"broken JSON":     `{"kty":"RSA","d":"c2VjcmV0`,
		"no key":          `{"password":"c2VjcmV0"}`,
		"a symmetric key": `{"kty":"oct","k":"c2VjcmV0"}`,
		"broken PEM":      "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
		"a wrong type":    `{"kty":"RSA","n":["c2VjcmV0"]}`,
		"P-224":           string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"encrypted":       string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("c2VjcmV0")})),
		"text behind it":  string(jwkstest.NewSigner("ES256", "").PEM()) + "c2VjcmV0",
		"a bad key set":   `{"keys":[{"kty":"EC","crv":"P-256","x":"c2VjcmV0","y":"c2VjcmV0"}]}`,
	} {
		keys, err := jwks.PublicPart([]byte(content))
		if err == nil || keys != nil || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%s: %v, %v", what, keys, err)
		}
	}
}

// RFC 7638 section 3.1.
func TestTheThumbprintIsThatOfTheRFC(t *testing.T) {
	key, err := jwks.NewKey(documents.JWK{
		KeyType: "RSA", E: "AQAB", KeyID: "2011-04-29", Algorithm: "RS256",
		N: "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs" +
			"tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbI" +
			"SD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
	})
	if err != nil || key.Thumbprint != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("%q, %v", key.Thumbprint, err)
	}
}

// Else the time would tell which clients exist. Without the dummy it is a hundredth.
func TestASignatureTakesAboutAsLongWhereThereIsNoKey(t *testing.T) {
	for _, algorithm := range jwkstest.Algorithms {
		signer, other := jwkstest.NewSigner(algorithm, "a"), jwkstest.NewSigner(algorithm, "a")
		j, err := jwks.ParseJWS(signer.Sign(t, claims))
		if err != nil {
			t.Fatal(err)
		}
		set := parse(t, jwkstest.SetOf(other))
		known := shortest(func() { _, _ = set.Verify(j) })
		unknown := shortest(func() {
			if err := jwks.VerifyDummy(j); !errors.Is(err, jwks.ErrUnknownKey) {
				t.Errorf("%s: %v", algorithm, err)
			}
		})
		if unknown < known/4 || unknown > known*4 {
			t.Errorf("%s: it takes %v, and %v with a key", algorithm, unknown, known)
		}
	}
}

// shortest returns how long do takes when nothing disturbs it.
func shortest(do func()) time.Duration {
	least := time.Hour
	for range 30 {
		start := time.Now()
		do()
		least = min(least, time.Since(start))
	}
	return least
}

func toMap(t *testing.T, j documents.JWK) map[string]any {
	t.Helper()
	members := map[string]any{}
	if err := json.Unmarshal([]byte(encode(t, j)), &members); err != nil {
		t.Fatal(err)
	}
	return members
}

func encode(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
