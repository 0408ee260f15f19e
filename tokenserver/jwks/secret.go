package jwks

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// PublicPart returns the public keys of what people keep in a Secret: a JWK or a JWK Set, private
// or public, or keys and certificates in PEM. Every key must be usable, as NewKey says. Errors do
// not quote the content.
func PublicPart(content []byte) ([]documents.JWK, error) {
	content = bytes.TrimSpace(content)
	var keys []documents.JWK
	var err error
	if bytes.HasPrefix(content, []byte("{")) {
		keys, err = publicPartOfJSON(content)
	} else {
		keys, err = publicPartOfPEM(content)
	}
	if err != nil {
		return nil, err
	}
	if _, err := NewSet(keys); err != nil {
		return nil, err
	}
	return keys, nil
}

func publicPartOfJSON(content []byte) ([]documents.JWK, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(content, &set); err != nil {
		return nil, errors.New("the value is no valid JSON")
	}
	if set.Keys == nil {
		set.Keys = []json.RawMessage{content}
	}
	keys := make([]documents.JWK, 0, len(set.Keys))
	for i, raw := range set.Keys {
		j, _, err := parseKey(raw)
		if err != nil {
			return nil, fmt.Errorf("keys[%d]: %w", i, err)
		}
		keys = append(keys, j)
	}
	return keys, nil
}

func publicPartOfPEM(content []byte) ([]documents.JWK, error) {
	var keys []documents.JWK
	for {
		block, rest := pem.Decode(content)
		if block == nil {
			break
		}
		content = rest
		if block.Type == "EC PARAMETERS" { // openssl ecparam writes it before the key
			continue
		}
		public, err := publicKeyOfBlock(block)
		if err != nil {
			return nil, err
		}
		j, err := toJWK(public)
		if err != nil {
			return nil, err
		}
		keys = append(keys, j)
	}
	if len(keys) == 0 || len(bytes.TrimSpace(content)) > 0 {
		return nil, errors.New("the value is neither a JWK, nor a JWK Set, nor keys in PEM")
	}
	return keys, nil
}

// publicKeyOfBlock returns the public key in a block of PEM, or the one that belongs to the private
// key there.
func publicKeyOfBlock(block *pem.Block) (crypto.PublicKey, error) {
	var public crypto.PublicKey
	var private any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = certificate.PublicKey
		}
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("the private key is encrypted: store its public key, or the key without a passphrase")
	default:
		return nil, errors.New("a block of PEM is neither a key nor a certificate")
	}
	if err != nil {
		return nil, errors.New("a block of PEM cannot be read as what it says it is")
	}
	if signer, ok := private.(crypto.Signer); ok {
		public = signer.Public()
	}
	return public, nil
}

func toJWK(public crypto.PublicKey) (documents.JWK, error) {
	encode := base64.RawURLEncoding.EncodeToString
	switch k := public.(type) {
	case *rsa.PublicKey:
		return documents.JWK{KeyType: "RSA", N: encode(k.N.Bytes()), E: encode(big.NewInt(int64(k.E)).Bytes())}, nil
	case *ecdsa.PublicKey:
		point, err := k.Bytes() // 0x04, X, Y
		if err != nil {
			return documents.JWK{}, errors.New("the EC key is on an unknown curve")
		}
		half := len(point) / 2
		return documents.JWK{KeyType: "EC", Curve: k.Params().Name, X: encode(point[1 : 1+half]), Y: encode(point[1+half:])}, nil
	case ed25519.PublicKey:
		return documents.JWK{KeyType: "OKP", Curve: algEd25519, X: encode(k)}, nil
	}
	return documents.JWK{}, errors.New("the key is not RSA, EC or Ed25519")
}
