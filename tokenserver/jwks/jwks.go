// Package jwks reads the public keys of others (RFC 7517), and verifies what they signed.
//
//	jwks.go    Set, the keys of one signer
//	key.go     Key, one public key, and which keys are good enough
//	parse.go   JSON into keys
//	secret.go  the public part of what a Secret holds
//	jws.go     a compact JWS (RFC 7515) that has not been verified yet
//	dummy.go   verification that finds nothing, and takes as long
//
// The algorithm of a signature is fixed by the key (RFC 8725 section 3.1): by its alg, else by its
// curve; an RSA key without alg is for RS256. What the header says must agree. A kid selects among
// the keys of one signer, and is used for nothing else.
package jwks

import (
	"errors"
	"fmt"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

var (
	// ErrUnknownKey is returned for a signature by a key that is not in the set: there is none with
	// the kid, or no kid and no key that fits.
	ErrUnknownKey = errors.New("no key of the set verifies the signature")
	// ErrSignature is returned for a signature that the key with the kid did not make.
	ErrSignature = errors.New("the signature is not by the key with this kid")
)

const (
	// MaxKeys is how many usable keys a set may have.
	MaxKeys = 32
	// MaxVerifications is how many keys are tried for one signature. More than one comes into
	// question only where kids are missing or used twice.
	MaxVerifications = 3
)

// Set is the public keys of one signer. It is immutable.
type Set struct{ keys []Key }

// NewSet returns a set of the keys. It is an error if one of them cannot be used, or if there are
// more than MaxKeys.
func NewSet(keys []documents.JWK) (Set, error) {
	if len(keys) > MaxKeys {
		return Set{}, errTooMany()
	}
	var s Set
	for i, j := range keys {
		k, err := NewKey(j)
		if err != nil {
			return Set{}, fmt.Errorf("keys[%d]: %w", i, err)
		}
		s.keys = append(s.keys, k)
	}
	return s, nil
}

func errTooMany() error { return fmt.Errorf("there are more than %d keys", MaxKeys) }

// Len returns how many keys the set has.
func (s Set) Len() int { return len(s.keys) }

// Verify returns the key that signed j. The error is ErrUnknownKey, for which it may help to fetch
// the set again, or ErrSignature.
func (s Set) Verify(j JWS) (Key, error) {
	candidates, exact := s.candidates(j.KeyID)
	tried := 0
	for _, k := range candidates {
		if k.Algorithm != j.Algorithm {
			continue
		}
		if tried++; tried > MaxVerifications {
			break
		}
		if k.verifies(j) {
			return k, nil
		}
	}
	if tried == 0 {
		verifyDummy(j)
	}
	if exact {
		return Key{}, ErrSignature
	}
	return Key{}, ErrUnknownKey
}

// candidates returns the keys that may have signed under a kid, and whether they have that kid. A
// key without a kid may have signed under any, and without one any key.
func (s Set) candidates(kid string) (keys []Key, exact bool) {
	if kid == "" {
		return s.keys, false
	}
	for _, k := range s.keys {
		switch k.ID {
		case kid:
			if !exact {
				keys, exact = nil, true
			}
			keys = append(keys, k)
		case "":
			if !exact {
				keys = append(keys, k)
			}
		}
	}
	return keys, exact
}
