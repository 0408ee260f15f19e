package jwks

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// ErrPrivate is the error of a key that has private members.
var ErrPrivate = errors.New("the key is private: who knows it can act as its owner")

// Parse reads a JWK Set (RFC 7517 section 5). It leaves out what it cannot use (section 5): keys to
// encrypt with, of other kinds, too weak or too large, and those that are private or symmetric. It
// is an error if raw is not a JWK Set, or has more than MaxKeys keys that can be used.
func Parse(raw []byte) (Set, error) {
	s, _, err := parseSet(raw)
	return s, err
}

// ParseKeys is Parse for a caller that stores the keys.
func ParseKeys(raw []byte) ([]documents.JWK, error) {
	_, keys, err := parseSet(raw)
	return keys, err
}

func parseSet(raw []byte) (s Set, keys []documents.JWK, err error) {
	var object struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(raw, &object); err != nil || object.Keys == nil {
		return Set{}, nil, errors.New("not a JWK Set: it must be a JSON object with a list of keys")
	}
	for _, each := range *object.Keys {
		j, err := ParseKey(each)
		if err != nil {
			continue
		}
		k, err := NewKey(j)
		if err != nil || slices.ContainsFunc(s.keys, k.equals) {
			continue
		}
		if len(s.keys) == MaxKeys {
			return Set{}, nil, errTooMany()
		}
		s.keys, keys = append(s.keys, k), append(keys, j)
	}
	return s, keys, nil
}

// equals reports whether o is the same key under the same name. Some servers list a key twice.
func (k Key) equals(o Key) bool {
	return k.ID == o.ID && k.Algorithm == o.Algorithm && k.Thumbprint == o.Thumbprint
}

// privateMembers are the members of private and symmetric keys (RFC 7518 sections 6.2.2, 6.3.2 and
// 6.4.1).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// ParseKey reads a public key that is meant for signatures, without checking whether NewKey accepts
// it. The error is ErrPrivate if the key has private members. Errors do not quote the key.
func ParseKey(raw []byte) (documents.JWK, error) {
	j, private, err := parseKey(raw)
	if err == nil && private {
		return documents.JWK{}, ErrPrivate
	}
	return j, err
}

// parseKey returns the public part of a key, and whether it has a private one.
func parseKey(raw []byte) (j documents.JWK, private bool, err error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil || members == nil {
		return documents.JWK{}, false, errors.New("a key must be a JSON object")
	}
	for _, name := range privateMembers {
		_, has := members[name]
		private = private || has
	}
	var use string
	var operations []string
	for name, into := range map[string]any{
		"kty": &j.KeyType, "kid": &j.KeyID, "alg": &j.Algorithm, "crv": &j.Curve, "x": &j.X, "y": &j.Y, "n": &j.N, "e": &j.E,
		"use": &use, "key_ops": &operations,
	} {
		if value, ok := members[name]; ok && json.Unmarshal(value, into) != nil {
			return documents.JWK{}, private, fmt.Errorf("%s has the wrong type", name)
		}
	}
	if use != "" && use != "sig" || operations != nil && !private && !slices.Contains(operations, "verify") {
		return documents.JWK{}, private, errors.New("the key is not for signatures: its use or key_ops says so")
	}
	return j, private, nil
}
