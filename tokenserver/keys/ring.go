package keys

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// Ring is the keys of a Set at one moment. It is immutable and safe for concurrent use.
type Ring struct {
	random        io.Reader
	issuer        string
	signing       map[string]*signingKey
	activeSigning map[string]*signingKey // by algorithm
	sealing       map[string]*sealingKey
	activeSealing *sealingKey
	jwks          []byte
	missing       []string // kids that the document lists and the files lack
	problem       string   // as returned by Set.Problem
}

// newRing returns the keys among the material that the document lists and does not revoke.
func newRing(random io.Reader, doc documents.Server, material map[string]keyMaterial) *Ring {
	r := &Ring{
		random:        random,
		issuer:        doc.Issuer,
		signing:       map[string]*signingKey{},
		activeSigning: map[string]*signingKey{},
		sealing:       map[string]*sealingKey{},
	}
	var published []*signingKey
	for _, key := range doc.Keys {
		if slices.Contains(doc.RevokedKeys, key.KID) || !isKnownPhase(key.Phase) {
			continue
		}
		m, ok := material[key.KID]
		if !ok || m.algorithm != key.Algorithm {
			r.missing = append(r.missing, key.KID)
			continue
		}
		if key.Algorithm == documents.AlgorithmSealing {
			r.addSealing(key, m)
			continue
		}
		if signer := r.addSigning(key, m); signer != nil {
			published = append(published, signer)
		}
	}
	r.jwks = encodeJWKS(published)
	r.problem = r.findProblem(doc)
	return r
}

// CanSign reports whether the ring can sign with each of the algorithms, and seal.
func (r *Ring) CanSign(algorithms ...string) bool {
	return r.activeSealing != nil && !slices.ContainsFunc(algorithms, func(alg string) bool { return r.activeSigning[alg] == nil })
}

func isKnownPhase(phase string) bool {
	return phase == documents.KeyPublished || phase == documents.KeyActive || phase == documents.KeyRetiring
}

// addSigning adds a signing key and returns it. It returns nil for a kid that is in the ring
// already, since kids are unique in a JWK Set.
func (r *Ring) addSigning(key documents.Key, m keyMaterial) *signingKey {
	if _, twice := r.signing[key.KID]; twice {
		return nil
	}
	s := newSigningKey(key.KID, m)
	r.signing[key.KID] = s
	if _, has := r.activeSigning[key.Algorithm]; !has && key.Phase == documents.KeyActive {
		r.activeSigning[key.Algorithm] = s
	}
	return s
}

func (r *Ring) addSealing(key documents.Key, m keyMaterial) {
	if _, twice := r.sealing[key.KID]; twice {
		return
	}
	s := newSealingKey(key.KID, m.secret)
	r.sealing[key.KID] = s
	if r.activeSealing == nil && key.Phase == documents.KeyActive {
		r.activeSealing = s
	}
}

// findProblem returns which Active keys are missing: those that the document lists and the files
// lack, with which another replica may sign and seal what this one could not read, and those of
// algorithms without an Active key.
func (r *Ring) findProblem(doc documents.Server) string {
	if doc.Issuer == "" {
		return "the server's document has not arrived"
	}
	var problems []string
	for _, key := range doc.Keys {
		if key.Phase == documents.KeyActive && slices.Contains(r.missing, key.KID) {
			problems = append(problems, fmt.Sprintf("the Active key %s (%s) is not in the key directory", key.KID, key.Algorithm))
		}
	}
	for _, alg := range doc.Algorithms {
		if r.activeSigning[alg] == nil && len(problems) == 0 {
			problems = append(problems, fmt.Sprintf("there is no Active key for %s", alg))
		}
	}
	if r.activeSealing == nil && len(problems) == 0 {
		problems = append(problems, "there is no Active key for sealing")
	}
	return strings.Join(problems, "; ")
}
