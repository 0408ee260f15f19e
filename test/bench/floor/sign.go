package main

import (
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// signer signs what an access token has to say (RFC 9068 section 2.2).
type signer struct {
	method jwt.SigningMethod
	key    crypto.Signer
}

func newSigner(method jwt.SigningMethod) (*signer, error) {
	key, err := newKey(method)
	return &signer{method, key}, err
}

type claims struct {
	jwt.RegisteredClaims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

func (s *signer) token() (string, error) {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", err
	}
	now := time.Now()
	token := jwt.NewWithClaims(s.method, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: "http://127.0.0.1:20000", Subject: "apps.service", Audience: jwt.ClaimStrings{"https://orders.example.com"},
			ExpiresAt: jwt.NewNumericDate(now.Add(5 * time.Minute)), IssuedAt: jwt.NewNumericDate(now),
			ID: base64.RawURLEncoding.EncodeToString(id[:]),
		},
		ClientID: "apps.service", Scope: "orders:read",
	})
	token.Header["kid"], token.Header["typ"] = "one", "at+jwt"
	return token.SignedString(s.key)
}
