// Package jwkstest has signers and servers of key sets for tests.
package jwkstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
)

// Algorithms are those that NewSigner makes keys for.
var Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// Signer is a key pair with a kid.
type Signer struct {
	JWK     documents.JWK
	Private crypto.Signer
}

// rsaKey is made once, since that takes long.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })

// NewSigner returns a new key; that of RSA algorithms is always the same.
func NewSigner(algorithm, kid string) Signer {
	var private crypto.Signer
	switch algorithm {
	case "ES256":
		private = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	case "ES384":
		private = must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	case "ES512":
		private = must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	case "EdDSA":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		private = must(key, err)
	default:
		private = rsaKey()
	}
	return Of(private, algorithm, kid)
}

// Of returns the Signer with a private key.
func Of(private crypto.Signer, algorithm, kid string) Signer {
	der := must(x509.MarshalPKIXPublicKey(private.Public()))
	keys := must(jwks.PublicPart(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	keys[0].KeyID, keys[0].Algorithm = kid, algorithm
	return Signer{keys[0], private}
}

// PEM returns the private key in PKCS #8.
func (s Signer) PEM() []byte {
	der := must(x509.MarshalPKCS8PrivateKey(s.Private))
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Sign returns a JWT. Its header has the alg and the kid of the key, and what headers say; a nil
// value there leaves a member out.
func (s Signer) Sign(t testing.TB, claims map[string]any, headers ...map[string]any) string {
	t.Helper()
	header := map[string]any{"alg": s.JWK.Algorithm, "kid": s.JWK.KeyID}
	for _, more := range headers {
		for name, value := range more {
			if header[name] = value; value == nil {
				delete(header, name)
			}
		}
	}
	signed := Encode(t, header) + "." + Encode(t, claims)
	signature, err := jwt.GetSigningMethod(s.JWK.Algorithm).Sign(signed, s.Private)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// Encode returns a part of a JWS.
func Encode(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// SetOf returns the JWK Set of the signers, as JSON.
func SetOf(signers ...Signer) string {
	keys := []documents.JWK{}
	for _, s := range signers {
		keys = append(keys, s.JWK)
	}
	return string(must(json.Marshal(map[string]any{"keys": keys})))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("making a key of a test: %v", err))
	}
	return v
}
