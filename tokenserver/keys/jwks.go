package keys

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
)

// jwk is a public key (RFC 7517 section 4, RFC 7518 section 6). It has no field for a private or
// symmetric member.
type jwk struct {
	KeyType   string `json:"kty"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
}

// encodeJWKS returns the JWK Set of the keys, in their order.
func encodeJWKS(published []*signingKey) []byte {
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	for _, k := range published {
		if j, ok := publicJWK(k); ok {
			set.Keys = append(set.Keys, j)
		}
	}
	b, err := json.Marshal(set)
	if err != nil {
		panic("a JWK Set is strings and always encodes: " + err.Error())
	}
	return b
}

func publicJWK(k *signingKey) (jwk, bool) {
	j := jwk{Use: "sig", Algorithm: k.alg, KeyID: k.kid}
	encode := base64.RawURLEncoding.EncodeToString
	switch public := k.key.Public().(type) {
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 0x04, X, Y
		if err != nil {
			return jwk{}, false
		}
		half := len(point) / 2
		j.KeyType, j.Curve = "EC", "P-256"
		j.X, j.Y = encode(point[1:1+half]), encode(point[1+half:])
	case *rsa.PublicKey:
		j.KeyType = "RSA"
		j.N, j.E = encode(public.N.Bytes()), encode(big.NewInt(int64(public.E)).Bytes())
	default:
		return jwk{}, false
	}
	return j, true
}

// PublishedCount returns the number of keys in the JWK Set.
func (r *Ring) PublishedCount() int { return len(r.signing) }
