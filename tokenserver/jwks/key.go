package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// Algorithms (RFC 7518 section 3.1, RFC 8037 section 3.1). RFC 9864 calls EdDSA with an Ed25519 key
// Ed25519; here both are EdDSA.
const (
	algRS256   = "RS256"
	algEdDSA   = "EdDSA"
	algEd25519 = "Ed25519"
)

var rsaAlgorithms = []string{algRS256, "RS384", "RS512", "PS256", "PS384", "PS512"}

// Algorithms returns the algorithms that keys may have, for discovery documents.
func Algorithms() []string {
	return append(slices.Clone(rsaAlgorithms), "ES256", "ES384", "ES512", algEdDSA, algEd25519)
}

const (
	minRSABits = 2048
	maxRSABits = 4096
	// minRSAExponent is the usual exponent. Smaller ones make mistakes of padding exploitable.
	minRSAExponent = 1<<16 + 1
	// maxKeyID is how long a kid may be, in bytes.
	maxKeyID = 256
)

// Key is a public key that may verify signatures. It is immutable.
type Key struct {
	// ID is the kid; it may be empty.
	ID string
	// Algorithm is the one that the key signs with.
	Algorithm string
	// Thumbprint identifies the key (RFC 7638 with SHA-256, in base64url).
	Thumbprint string

	public crypto.PublicKey
	method jwt.SigningMethod
}

// NewKey returns the key that j describes. The error says what is wrong with it.
func NewKey(j documents.JWK) (Key, error) {
	if len(j.KeyID) > maxKeyID {
		return Key{}, fmt.Errorf("kid is longer than %d bytes", maxKeyID)
	}
	var public crypto.PublicKey
	var algorithm, canonical string
	var err error
	switch j.KeyType {
	case "RSA":
		public, algorithm, err = rsaKey(j)
		canonical = canonicalJSON("e", j.E, "kty", j.KeyType, "n", j.N)
	case "EC":
		public, algorithm, err = ecKey(j)
		canonical = canonicalJSON("crv", j.Curve, "kty", j.KeyType, "x", j.X, "y", j.Y)
	case "OKP":
		public, algorithm, err = okpKey(j)
		canonical = canonicalJSON("crv", j.Curve, "kty", j.KeyType, "x", j.X)
	case "oct":
		err = errors.New(`kty oct is a shared secret, not a public key`)
	default:
		err = errors.New("kty must be RSA, EC or OKP")
	}
	if err != nil {
		return Key{}, err
	}
	sum := sha256.Sum256([]byte(canonical))
	return Key{
		ID: j.KeyID, Algorithm: algorithm, Thumbprint: base64.RawURLEncoding.EncodeToString(sum[:]),
		public: public, method: jwt.GetSigningMethod(algorithm),
	}, nil
}

func (k Key) verifies(j JWS) bool { return k.method.Verify(j.signed, j.signature, k.public) == nil }

func rsaKey(j documents.JWK) (crypto.PublicKey, string, error) {
	algorithm := j.Algorithm
	if algorithm == "" {
		algorithm = algRS256
	}
	if !slices.Contains(rsaAlgorithms, algorithm) {
		return nil, "", fmt.Errorf("alg of an RSA key must be one of %s", strings.Join(rsaAlgorithms, ", "))
	}
	modulus, err := decodeMember("n", j.N)
	if err != nil {
		return nil, "", err
	}
	exponent, err := decodeMember("e", j.E)
	if err != nil {
		return nil, "", err
	}
	n, e := new(big.Int).SetBytes(modulus), new(big.Int).SetBytes(exponent)
	switch bits := n.BitLen(); {
	case bits < minRSABits || bits > maxRSABits:
		return nil, "", fmt.Errorf("the RSA key has %d bits, and must have %d to %d", bits, minRSABits, maxRSABits)
	case n.Bit(0) == 0:
		return nil, "", errors.New("n is no modulus of an RSA key")
	case e.Cmp(big.NewInt(minRSAExponent)) < 0 || e.BitLen() > 31 || e.Bit(0) == 0:
		return nil, "", fmt.Errorf("e of an RSA key must be odd, at least %d and less than 2^31", minRSAExponent)
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, algorithm, nil
}

// curve of EC keys.
type curve struct {
	algorithm string
	elliptic  elliptic.Curve
}

var curves = map[string]curve{
	"P-256": {"ES256", elliptic.P256()}, "P-384": {"ES384", elliptic.P384()}, "P-521": {"ES512", elliptic.P521()},
}

func ecKey(j documents.JWK) (crypto.PublicKey, string, error) {
	c, ok := curves[j.Curve]
	if !ok {
		return nil, "", errors.New("crv of an EC key must be P-256, P-384 or P-521")
	}
	if j.Algorithm != "" && j.Algorithm != c.algorithm {
		return nil, "", fmt.Errorf("alg of a key on %s must be %s", j.Curve, c.algorithm)
	}
	x, err := decodeMember("x", j.X)
	if err != nil {
		return nil, "", err
	}
	y, err := decodeMember("y", j.Y)
	if err != nil {
		return nil, "", err
	}
	size := (c.elliptic.Params().BitSize + 7) / 8
	if len(x) != size || len(y) != size { // RFC 7518 section 6.2.1.2
		return nil, "", fmt.Errorf("x and y of a key on %s must each have %d bytes", j.Curve, size)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(c.elliptic, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, "", fmt.Errorf("x and y are no point on %s", j.Curve)
	}
	return public, c.algorithm, nil
}

func okpKey(j documents.JWK) (crypto.PublicKey, string, error) {
	if j.Curve != algEd25519 {
		return nil, "", errors.New("crv of an OKP key must be Ed25519")
	}
	if j.Algorithm != "" && j.Algorithm != algEdDSA && j.Algorithm != algEd25519 {
		return nil, "", errors.New("alg of an Ed25519 key must be EdDSA or Ed25519")
	}
	x, err := decodeMember("x", j.X)
	if err != nil {
		return nil, "", err
	}
	if len(x) != ed25519.PublicKeySize {
		return nil, "", fmt.Errorf("x of an Ed25519 key must have %d bytes", ed25519.PublicKeySize)
	}
	return ed25519.PublicKey(x), algEdDSA, nil
}

// decodeMember decodes a member of a key. Members are base64url without padding (RFC 7518 section
// 2).
func decodeMember(name, value string) ([]byte, error) {
	if value == "" {
		return nil, fmt.Errorf("%s is missing", name)
	}
	raw, ok := decodeBase64(value)
	if !ok {
		return nil, fmt.Errorf("%s is not base64url without padding", name)
	}
	return raw, nil
}

// decodeBase64 decodes base64url without padding. Go's decoder ignores line breaks, which RFC 7515
// section 2 does not allow.
func decodeBase64(value string) ([]byte, bool) {
	if strings.ContainsAny(value, "\r\n") {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(value)
	return raw, err == nil
}

// canonicalJSON returns the object whose hash is the thumbprint (RFC 7638 section 3). The values
// are base64url and names of curves, which need no escapes.
func canonicalJSON(pairs ...string) string {
	var members []string
	for pair := range slices.Chunk(pairs, 2) {
		value, err := json.Marshal(pair[1])
		if err != nil {
			panic("a string always encodes: " + err.Error())
		}
		members = append(members, `"`+pair[0]+`":`+string(value))
	}
	return "{" + strings.Join(members, ",") + "}"
}
