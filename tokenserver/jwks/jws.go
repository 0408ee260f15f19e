package jwks

import (
	"encoding/json"
	"errors"
	"strings"
)

// MaxSize is the size of the largest JWS that is read, in bytes.
const MaxSize = 16 << 10

// ErrMalformed is returned for what is not a compact JWS that this package can verify.
var ErrMalformed = errors.New("not a signed JWT")

// JWS is a signed value in the compact serialization (RFC 7515 section 3.1). Nothing in it is to be
// believed before Set.Verify has found its key.
type JWS struct {
	Algorithm string
	// KeyID is the kid; it may be empty.
	KeyID string
	// Type is the typ; it may be empty.
	Type    string
	Payload []byte

	signed    string
	signature []byte
}

// ParseJWS parses a JWS without verifying it. The only error is ErrMalformed. A header with crit
// demands extensions, of which there are none here (RFC 7515 section 4.1.11). Keys and addresses in
// the header (jwk, jku, x5u, x5c) are ignored: the keys are those that are registered.
func ParseJWS(token string) (JWS, error) {
	if len(token) > MaxSize || strings.Count(token, ".") != 2 {
		return JWS{}, ErrMalformed
	}
	dot := strings.LastIndexByte(token, '.')
	encodedHeader, encodedPayload, _ := strings.Cut(token[:dot], ".")
	header, ok := decodeBase64(encodedHeader)
	if !ok {
		return JWS{}, ErrMalformed
	}
	j := JWS{signed: token[:dot]}
	if j.Payload, ok = decodeBase64(encodedPayload); !ok {
		return JWS{}, ErrMalformed
	}
	if j.signature, ok = decodeBase64(token[dot+1:]); !ok {
		return JWS{}, ErrMalformed
	}
	if !j.decodeHeader(header) {
		return JWS{}, ErrMalformed
	}
	return j, nil
}

// decodeHeader reads the header, and reports whether it is one. It goes by the exact names, unlike
// encoding/json with a struct.
func (j *JWS) decodeHeader(header []byte) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(header, &members) != nil {
		return false
	}
	if _, ok := members["crit"]; ok {
		return false
	}
	for name, into := range map[string]*string{"alg": &j.Algorithm, "kid": &j.KeyID, "typ": &j.Type} {
		if value, ok := members[name]; ok && json.Unmarshal(value, into) != nil {
			return false
		}
	}
	if j.Algorithm == algEd25519 {
		j.Algorithm = algEdDSA
	}
	return j.Algorithm != ""
}
