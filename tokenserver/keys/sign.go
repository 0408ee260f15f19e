package keys

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/golang-jwt/jwt/v5"

	"github.com/oauth-operator/oauth-operator/tokenserver/jsontext"
)

// Algorithms of signing keys (RFC 7518 section 3.1).
const (
	algES256 = "ES256"
	algRS256 = "RS256"
)

// sizeES256 is the size of an ES256 signature, in bytes (RFC 7518 section 3.4). Others are larger.
const sizeES256 = 64

// maxTokenSize is the size of the largest token that Verify accepts, in bytes.
const maxTokenSize = 16 << 10

type signingKey struct {
	kid     string
	alg     string
	method  jwt.SigningMethod
	key     crypto.Signer
	headers sync.Map // encoded headers by typ, of which there are two
}

func newSigningKey(kid string, m keyMaterial) *signingKey {
	return &signingKey{kid: kid, alg: m.algorithm, method: jwt.GetSigningMethod(m.algorithm), key: m.signer}
}

// header of a JWT. The JSON has the order of the fields. Verify knows no other: where it changes, the
// tokens of before have to stay good until they expire.
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// Sign returns a JWT (RFC 7519) with the claims, signed with the Active key for alg. It returns
// ErrNoKey if there is none.
func (r *Ring) Sign(alg, typ string, claims any) (token string, err error) {
	k := r.activeSigning[alg]
	if k == nil {
		return "", fmt.Errorf("%w: no Active key for %s", ErrNoKey, alg)
	}
	head, err := k.encodedHeader(typ)
	if err != nil {
		return "", fmt.Errorf("encoding the header: %w", err)
	}
	body, err := encodeJSON(claims)
	if err != nil {
		return "", fmt.Errorf("encoding the claims: %w", err)
	}
	encoding := base64.RawURLEncoding
	buffer := make([]byte, 0, len(head)+1+encoding.EncodedLen(len(body))+1+encoding.EncodedLen(sizeES256))
	buffer = encoding.AppendEncode(append(append(buffer, head...), '.'), body)
	signature, err := k.method.Sign(string(buffer), k.key)
	if err != nil {
		return "", fmt.Errorf("signing with %s: %w", k.kid, err)
	}
	return string(encoding.AppendEncode(append(buffer, '.'), signature)), nil
}

// encodedHeader returns the encoded header of tokens with a typ. Each is encoded only once.
func (k *signingKey) encodedHeader(typ string) (string, error) {
	if encoded, ok := k.headers.Load(typ); ok {
		return encoded.(string), nil
	}
	head, err := json.Marshal(header{Algorithm: k.alg, KeyID: k.kid, Type: typ})
	if err != nil {
		return "", err
	}
	encoded := base64.RawURLEncoding.EncodeToString(head)
	k.headers.Store(typ, encoded)
	return encoded, nil
}

// usualClaims is more than the JSON of most claims has, in bytes.
const usualClaims = 512

// encodeJSON is like json.Marshal without the escapes for HTML, which would lengthen URLs in
// claims.
func encodeJSON(v any) ([]byte, error) {
	if a, ok := v.(jsontext.Appender); ok {
		return a.AppendJSON(make([]byte, 0, usualClaims)), nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Verify checks that token is a JWT with the given typ that one of the published keys signed, and
// decodes its claims into the value that claims points to. The header must be the one that Sign
// writes, byte for byte: so the algorithm is the key's (RFC 8725 section 3.1), typ is equal (section
// 3.11), and no header of others is parsed. The caller has to check exp, iss and aud. The only error
// is ErrInvalid.
func (r *Ring) Verify(token, typ string, claims any) error {
	if len(token) > maxTokenSize || strings.Count(token, ".") != 2 {
		return ErrInvalid
	}
	dot := strings.LastIndexByte(token, '.')
	signed, encoded := token[:dot], token[dot+1:]
	encodedHead, encodedBody, _ := strings.Cut(signed, ".")
	k := r.findSigner(encodedHead, typ)
	if k == nil {
		return ErrInvalid
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return ErrInvalid
	}
	if err := k.method.Verify(signed, signature, k.key.Public()); err != nil {
		return ErrInvalid
	}
	if !decodePart(encodedBody, claims) {
		return ErrInvalid
	}
	return nil
}

// findSigner returns the key that signs with an encoded header; nil if none does. There are few keys.
func (r *Ring) findSigner(encodedHead, typ string) *signingKey {
	for _, k := range r.signing {
		if own, err := k.encodedHeader(typ); err == nil && own == encodedHead {
			return k
		}
	}
	return nil
}

// decodePart decodes one part of a JWT, and reports whether it is well-formed. Go's base64 decoder
// ignores line breaks, which RFC 7515 section 2 does not allow.
func decodePart(part string, v any) bool {
	if strings.ContainsAny(part, "\r\n") {
		return false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(part)
	return err == nil && json.Unmarshal(b, v) == nil
}
