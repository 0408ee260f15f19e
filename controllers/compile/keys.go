package compile

import (
	"fmt"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
)

// MaxClientKeys is how many keys a client may have.
const MaxClientKeys = 8

// ClientKeys returns the keys in spec.jwks that can be used, and what is wrong with the others.
func ClientKeys(c *v1alpha1.OAuthClient) (keys []documents.JWK, findings Findings) {
	if c.Spec.JWKS == nil {
		return nil, nil
	}
	for _, k := range c.Spec.JWKS.Keys {
		key := documents.JWK{
			KeyType: k.KeyType, KeyID: k.KeyID, Algorithm: k.Algorithm, Curve: k.Curve, X: k.X, Y: k.Y, N: k.N, E: k.E,
		}
		if _, err := jwks.NewKey(key); err != nil {
			findings = append(findings, Finding{fmt.Sprintf("spec.jwks.keys[%q]", k.KeyID), err.Error() + ": it is left out"})
			continue
		}
		keys = append(keys, key)
	}
	return keys, findings
}

// publicKeys returns the public part of the keys in a Secret. Errors do not quote the value.
func publicKeys(value []byte) ([]documents.JWK, error) {
	keys, err := jwks.PublicPart(value)
	if err != nil {
		return nil, err
	}
	if len(keys) > MaxClientKeys {
		return nil, fmt.Errorf("there are more than %d keys", MaxClientKeys)
	}
	byID := map[string]int{}
	for _, k := range keys {
		byID[k.KeyID]++
		switch {
		case k.KeyID != "" && byID[k.KeyID] > 1:
			return nil, fmt.Errorf("two keys have the kid %q: give each key a kid of its own", k.KeyID)
		case byID[""] > jwks.MaxVerifications:
			return nil, fmt.Errorf("more than %d keys have no kid: use a JWK Set, in which each has one", jwks.MaxVerifications)
		}
	}
	return keys, nil
}
