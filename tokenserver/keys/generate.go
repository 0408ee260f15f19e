package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"strings"
)

// GenerateSigning generates a signing key for ES256 or RS256. It returns the kid, which is the name
// of the algorithm and a hash of the public key in lower-case letters, digits and "-", and the
// content of the file "<kid>.pem".
func GenerateSigning(alg string, random io.Reader) (kid string, content []byte, err error) {
	signer, err := generateSigner(alg, random)
	if err != nil {
		return "", nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return "", nil, fmt.Errorf("encoding a key for %s: %w", alg, err)
	}
	public, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return "", nil, fmt.Errorf("encoding a key for %s: %w", alg, err)
	}
	sum := sha256.Sum256(public)
	kid = strings.ToLower(alg) + "-" + hex.EncodeToString(sum[:10])
	return kid, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), nil
}

func generateSigner(alg string, random io.Reader) (crypto.Signer, error) {
	switch alg {
	case algES256:
		key, err := ecdsa.GenerateKey(elliptic.P256(), random)
		if err != nil {
			return nil, fmt.Errorf("generating a key for %s: %w", alg, err)
		}
		return key, nil
	case algRS256:
		key, err := rsa.GenerateKey(random, minRSABits)
		if err != nil {
			return nil, fmt.Errorf("generating a key for %s: %w", alg, err)
		}
		return key, nil
	}
	return nil, fmt.Errorf("generating a key: unknown algorithm %q", alg)
}

// GenerateSealing generates a sealing key. It returns the kid, and the content of the file
// "<kid>.sealing".
func GenerateSealing(random io.Reader) (kid string, content []byte, err error) {
	b := make([]byte, 8+sealingSize)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", nil, fmt.Errorf("generating a sealing key: %w", err)
	}
	return "seal-" + hex.EncodeToString(b[:8]), []byte(base64.StdEncoding.EncodeToString(b[8:])), nil
}
