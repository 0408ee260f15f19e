package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/argon2"
)

// rsaBits is the size of keys that the token server generates.
const rsaBits = 2048

// verifier verifies the assertion of a client, which is always the same.
type verifier struct {
	public    crypto.PublicKey
	assertion string
	parser    *jwt.Parser
}

// newVerifier returns a verifier of an algorithm.
func newVerifier(method jwt.SigningMethod) (*verifier, error) {
	private, err := newKey(method)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	token := jwt.NewWithClaims(method, jwt.RegisteredClaims{
		Issuer: "apps.service", Subject: "apps.service", Audience: jwt.ClaimStrings{"http://127.0.0.1:20000"},
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(24 * time.Hour)), ID: rand.Text(),
	})
	token.Header["kid"] = "one"
	assertion, err := token.SignedString(private)
	return &verifier{private.Public(), assertion, jwt.NewParser(jwt.WithValidMethods([]string{method.Alg()}))}, err
}

func newKey(method jwt.SigningMethod) (crypto.Signer, error) {
	switch method {
	case jwt.SigningMethodES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jwt.SigningMethodRS256:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	case jwt.SigningMethodEdDSA:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, errors.New("there is no floor for " + method.Alg())
}

func (v *verifier) verify() error {
	_, err := v.parser.ParseWithClaims(v.assertion, &jwt.RegisteredClaims{}, func(*jwt.Token) (any, error) { return v.public, nil })
	return err
}

// authenticating verifies an assertion, and then does the work.
func authenticating(v *verifier, work func() (string, error)) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		if err := v.verify(); err != nil {
			return "", err
		}
		return work()
	}
}

// hash hashes a password as the token server does.
func hash(context.Context) (string, error) {
	argon2.IDKey([]byte("a long enough pass-phrase"), []byte("sixteen bytes...")[:16], 2, 19456, 1, 32)
	return "", nil
}
