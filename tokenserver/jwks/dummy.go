package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"math/big"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// VerifyDummy does the work of Set.Verify for a signer that does not exist, so that the time does
// not tell which exist. It returns ErrUnknownKey.
func VerifyDummy(j JWS) error {
	_, err := Set{}.Verify(j)
	return err
}

// verifyDummy verifies a signature with a key that counts for nothing.
func verifyDummy(j JWS) {
	if public, ok := dummyKeys[j.Algorithm]; ok {
		_ = jwt.GetSigningMethod(j.Algorithm).Verify(j.signed, j.signature, public) // for the time that it takes
	}
}

// dummyKeys are keys of the usual size, by algorithm. Nothing depends on the outcome of a
// verification with one, only on how long it takes.
var dummyKeys = func() map[string]crypto.PublicKey {
	byAlgorithm := map[string]crypto.PublicKey{}
	var modulus []byte
	for i := range byte(minRSABits / 8 / sha256.Size) {
		block := sha256.Sum256([]byte{i})
		modulus = append(modulus, block[:]...)
	}
	modulus[0] |= 0x80
	modulus[len(modulus)-1] |= 1
	for _, algorithm := range rsaAlgorithms {
		byAlgorithm[algorithm] = &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: minRSAExponent}
	}
	for _, c := range curves {
		byAlgorithm[c.algorithm] = basePoint(c.elliptic)
	}
	base, err := hex.DecodeString("5866666666666666666666666666666666666666666666666666666666666666") // RFC 8032 section 5.1
	if err != nil {
		panic(err)
	}
	byAlgorithm[algEdDSA] = ed25519.PublicKey(base)
	return byAlgorithm
}()

// basePoint returns the generator of a curve as a key.
func basePoint(c elliptic.Curve) *ecdsa.PublicKey {
	size := (c.Params().BitSize + 7) / 8
	point := slices.Concat([]byte{4}, c.Params().Gx.FillBytes(make([]byte, size)), c.Params().Gy.FillBytes(make([]byte, size)))
	public, err := ecdsa.ParseUncompressedPublicKey(c, point)
	if err != nil {
		panic(err)
	}
	return public
}
