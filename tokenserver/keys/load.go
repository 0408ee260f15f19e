package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/mountedfiles"
)

// Suffixes of key files, after the kid.
const (
	signingSuffix = ".pem"
	sealingSuffix = ".sealing"
)

// Bounds of RSA moduli, in bits (RFC 7518 section 3.3 for the lower one).
const (
	minRSABits = 2048
	maxRSABits = 4096
)

// sealingSize is the size of a sealing key in bytes.
const sealingSize = 32

// keyMaterial is a key as read from its file.
type keyMaterial struct {
	algorithm string
	signer    crypto.Signer // of a signing key
	secret    []byte        // of a sealing key
}

// LoadDir reads the key files of dir: "<kid>.pem" with a PKCS #8 private key for ES256 or RS256,
// and "<kid>.sealing" with 32 bytes in base64. A file that is no key is left out and named in the
// error, which never quotes its content; the other keys are used. If the files are the same as last
// time, LoadDir changes nothing and returns the same error. If the directory cannot be read, the
// set keeps its keys.
func (s *Set) LoadDir(dir string) error {
	files, err := mountedfiles.Read(dir, isKeyFile)
	if err != nil {
		return fmt.Errorf("reading keys: %w", err)
	}
	hash := hashFiles(files)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded && hash == s.filesHash {
		return s.loadErr
	}
	material := map[string]keyMaterial{}
	var errs []error
	for _, f := range files {
		kid, m, err := parseFile(f)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if _, twice := material[kid]; twice {
			errs = append(errs, fmt.Errorf("key %s is in two files", kid))
			continue
		}
		material[kid] = m
	}
	s.filesHash, s.loaded, s.loadErr = hash, true, errors.Join(errs...)
	s.material = material
	s.ring.Store(newRing(s.random, s.document, material))
	return s.loadErr
}

func isKeyFile(name string) bool {
	return strings.HasSuffix(name, signingSuffix) || strings.HasSuffix(name, sealingSuffix)
}

func hashFiles(files []mountedfiles.File) [sha256.Size]byte {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%d %s %d ", len(f.Name), f.Name, len(f.Content))
		h.Write(f.Content)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func parseFile(f mountedfiles.File) (kid string, m keyMaterial, err error) {
	if kid, ok := strings.CutSuffix(f.Name, signingSuffix); ok && kid != "" {
		m, err := parseSigning(f.Content)
		if err != nil {
			return "", keyMaterial{}, fmt.Errorf("parsing key file %s: %w", f.Name, err)
		}
		return kid, m, nil
	}
	kid, _ = strings.CutSuffix(f.Name, sealingSuffix)
	secret, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(f.Content)))
	if kid == "" || err != nil || len(secret) != sealingSize {
		return "", keyMaterial{}, fmt.Errorf("parsing key file %s: not %d bytes in base64", f.Name, sealingSize)
	}
	return kid, keyMaterial{algorithm: documents.AlgorithmSealing, secret: secret}, nil
}

// parseSigning parses a PKCS #8 private key. The type of the key decides the algorithm.
func parseSigning(content []byte) (keyMaterial, error) {
	block, _ := pem.Decode(content)
	if block == nil || block.Type != "PRIVATE KEY" {
		return keyMaterial{}, errors.New("not a PKCS #8 private key in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return keyMaterial{}, errors.New("not a PKCS #8 private key")
	}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		if key.Curve != elliptic.P256() {
			return keyMaterial{}, errors.New("an elliptic curve key must be on P-256")
		}
		return keyMaterial{algorithm: algES256, signer: key}, nil
	case *rsa.PrivateKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return keyMaterial{}, fmt.Errorf("an RSA key must have %d to %d bits", minRSABits, maxRSABits)
		}
		return keyMaterial{algorithm: algRS256, signer: key}, nil
	}
	return keyMaterial{}, errors.New("neither an elliptic curve nor an RSA key")
}
