package keys

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// Purpose is what a sealed value is for. A value that was sealed for one purpose does not open for
// another.
type Purpose string

// The purposes. They are part of the format of sealed values.
const (
	// PurposeFlow is for an authorization request between its pages, bound to a browser.
	PurposeFlow Purpose = "flow"
	// PurposePost is for an authorization request that came by POST and is redirected to a GET. It
	// is not bound to a browser.
	PurposePost Purpose = "post"
	// PurposeBrowser is for the cookie that binds flows to a browser.
	PurposeBrowser Purpose = "browser"
	// PurposeSession is for the session cookie.
	PurposeSession Purpose = "session"
	// PurposeLogout is for a logout request: in the confirmation form, bound to the session, or in
	// the GET that a POST is redirected to.
	PurposeLogout Purpose = "logout"
	// PurposeDevice is for the cookie of a browser that users have logged in with.
	PurposeDevice Purpose = "device"
	// PurposeDeparture is for the cookie of a flow whose user is at an identity provider.
	PurposeDeparture Purpose = "departure"
	// PurposeCode is for authorization codes.
	PurposeCode Purpose = "code"
	// PurposeRefresh is for refresh tokens.
	PurposeRefresh Purpose = "refresh"
	// PurposeTokenID is for the claim jti of access tokens.
	PurposeTokenID Purpose = "token-id"
	// PurposeUpstreamSubject is for the subject of a user at a directory, in the user's record.
	PurposeUpstreamSubject Purpose = "upstream-subject"
)

var purposes = []Purpose{
	PurposeFlow, PurposePost, PurposeBrowser, PurposeSession, PurposeLogout, PurposeDevice, PurposeDeparture, PurposeCode, PurposeRefresh, PurposeTokenID,
	PurposeUpstreamSubject,
}

// sealFormat is the version of the format of sealed values, "<kid>.<base64url(nonce ||
// ciphertext)>" with XChaCha20-Poly1305.
const sealFormat = "v1"

// maxSealedSize is the size of the largest sealed value that Open accepts, in bytes.
const maxSealedSize = 16 << 10

// sealingKey has two subkeys for each purpose: one that seals, and one that derives nonces.
type sealingKey struct {
	kid    string
	aeads  map[Purpose]cipher.AEAD
	nonces map[Purpose][]byte
}

// newSealingKey derives the subkeys with HKDF-SHA256 (RFC 5869). There is no salt, since the secret
// is uniformly random.
func newSealingKey(kid string, secret []byte) *sealingKey {
	k := &sealingKey{kid: kid, aeads: map[Purpose]cipher.AEAD{}, nonces: map[Purpose][]byte{}}
	for _, p := range purposes {
		aead, err := chacha20poly1305.NewX(deriveSubkey(secret, "seal", p))
		if err != nil {
			panic("a subkey has the length of a key: " + err.Error())
		}
		k.aeads[p] = aead
		k.nonces[p] = deriveSubkey(secret, "nonce", p)
	}
	return k
}

func deriveSubkey(secret []byte, use string, p Purpose) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, "oauth-operator "+sealFormat+" "+use+" "+string(p), chacha20poly1305.KeySize)
	if err != nil {
		panic("HKDF-SHA256 makes 32 bytes of any secret: " + err.Error())
	}
	return key
}

// associatedData returns the associated data of a sealed value. Neither purpose nor format contains
// a zero byte.
func (r *Ring) associatedData(p Purpose) []byte {
	return []byte(sealFormat + "\x00" + string(p) + "\x00" + r.issuer)
}

// Seal encrypts and authenticates plaintext with the Active key and a random nonce. It returns
// ErrNoKey if there is no such key.
func (r *Ring) Seal(p Purpose, plaintext []byte) (string, error) {
	if r.activeSealing == nil || r.activeSealing.aeads[p] == nil {
		return "", fmt.Errorf("%w: cannot seal a %s", ErrNoKey, p)
	}
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(plaintext)+chacha20poly1305.Overhead)
	if _, err := io.ReadFull(r.random, nonce); err != nil {
		return "", fmt.Errorf("reading randomness for a nonce: %w", err)
	}
	return r.seal(r.activeSealing, p, nonce, plaintext), nil
}

// SealDeterministic seals with the key kid, which may be Retiring. The same plaintext always gives
// the same value, since the nonce is an HMAC of the plaintext. It returns ErrNoKey if the key is
// revoked or missing.
func (r *Ring) SealDeterministic(p Purpose, kid string, plaintext []byte) (string, error) {
	k := r.sealing[kid]
	if k == nil || k.aeads[p] == nil {
		return "", fmt.Errorf("%w: cannot seal a %s with %s", ErrNoKey, p, kid)
	}
	// The HMAC includes the associated data, so that no nonce is used with two of them.
	data := r.associatedData(p)
	mac := hmac.New(sha256.New, k.nonces[p])
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(data))))
	mac.Write(data)
	mac.Write(plaintext)
	nonce := mac.Sum(nil)[:chacha20poly1305.NonceSizeX]
	return r.seal(k, p, nonce, plaintext), nil
}

func (r *Ring) seal(k *sealingKey, p Purpose, nonce, plaintext []byte) string {
	sealed := k.aeads[p].Seal(nonce[:len(nonce):cap(nonce)], nonce, plaintext, r.associatedData(p))
	return k.kid + "." + base64.RawURLEncoding.EncodeToString(sealed)
}

// Open returns what was sealed for this purpose and issuer. Its only error is ErrInvalid, which it
// also returns if the key is revoked or missing.
func (r *Ring) Open(p Purpose, sealed string) (plaintext []byte, err error) {
	dot := strings.LastIndexByte(sealed, '.')
	if dot < 0 || len(sealed) > maxSealedSize || strings.ContainsAny(sealed, "\r\n") {
		return nil, ErrInvalid
	}
	k := r.sealing[sealed[:dot]]
	if k == nil || k.aeads[p] == nil {
		return nil, ErrInvalid
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed[dot+1:])
	if err != nil || len(raw) < chacha20poly1305.NonceSizeX+chacha20poly1305.Overhead {
		return nil, ErrInvalid
	}
	plaintext, err = k.aeads[p].Open(nil, raw[:chacha20poly1305.NonceSizeX], raw[chacha20poly1305.NonceSizeX:], r.associatedData(p))
	if err != nil {
		return nil, ErrInvalid
	}
	return plaintext, nil
}

// SealingKID returns the kid of the Active sealing key; empty if there is none.
func (r *Ring) SealingKID() string {
	if r.activeSealing == nil {
		return ""
	}
	return r.activeSealing.kid
}
