// Package keys signs and verifies tokens, seals values that clients and browsers carry for the
// server, and publishes the public keys. The keys come from files. How they may be used, by their
// phase and unless they are revoked, comes from the server's document, so that revoking a key has
// an effect at once.
//
//	set.go       the Set, which combines files and document
//	load.go      the key files
//	ring.go      the Ring, the immutable result
//	sign.go      JWTs
//	seal.go      sealed values
//	jwks.go      the JWK Set
//	generate.go  new keys, for the manager
package keys

import (
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

var (
	// ErrInvalid is returned for a token or sealed value that this server did not make, or whose
	// key is revoked or missing.
	ErrInvalid = errors.New("not made by this server")
	// ErrNoKey is returned if there is no usable key for signing or sealing.
	ErrNoKey = errors.New("no usable key")
)

// Set is the keys of a server. Its files and its document change independently. Each change
// replaces the Ring that follows from both as a whole.
type Set struct {
	random io.Reader
	ring   atomic.Pointer[Ring]

	mu        sync.Mutex // protects the fields below
	filesHash [sha256.Size]byte
	loaded    bool
	loadErr   error // of the last LoadDir
	material  map[string]keyMaterial
	document  documents.Server
}

// NewSet returns an empty set that takes nonces from random. It has no usable key until LoadDir and
// SetDocument have been called.
func NewSet(random io.Reader) *Set {
	s := &Set{random: random}
	s.ring.Store(newRing(random, documents.Server{}, nil))
	return s
}

// SetDocument sets the server's document, which contains the issuer and the phases and revocations
// of keys. It returns the kids that the document lists and does not revoke, and whose files are
// missing or have another algorithm. Setting an equal document changes nothing.
func (s *Set) SetDocument(doc documents.Server) (missing []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !reflect.DeepEqual(s.document, doc) {
		s.document = doc
		s.ring.Store(newRing(s.random, doc, s.material))
	}
	return slices.Clone(s.Ring().missing)
}

// Ring returns the current keys. A request that needs the same keys throughout uses one Ring.
func (s *Set) Ring() *Ring { return s.ring.Load() }

// LoadedKIDs returns the kids of all keys that were read, sorted, whether the document lists them
// or not.
func (s *Set) LoadedKIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.material))
}

// Problem returns why the server cannot sign or seal, for its owner; empty if it can.
func (s *Set) Problem() string { return s.Ring().problem }

// Sign calls Ring.Sign.
func (s *Set) Sign(alg, typ string, claims any) (token string, err error) {
	return s.Ring().Sign(alg, typ, claims)
}

// Verify calls Ring.Verify.
func (s *Set) Verify(token, typ string, claims any) error { return s.Ring().Verify(token, typ, claims) }

// JWKS returns the JWK Set (RFC 7517 section 5) of the public keys, as JSON. The caller must not
// change it.
func (s *Set) JWKS() []byte { return s.Ring().jwks }

// Seal calls Ring.Seal.
func (s *Set) Seal(purpose Purpose, plaintext []byte) (string, error) {
	return s.Ring().Seal(purpose, plaintext)
}

// SealDeterministic calls Ring.SealDeterministic.
func (s *Set) SealDeterministic(purpose Purpose, kid string, plaintext []byte) (string, error) {
	return s.Ring().SealDeterministic(purpose, kid, plaintext)
}

// Open calls Ring.Open.
func (s *Set) Open(purpose Purpose, sealed string) (plaintext []byte, err error) {
	return s.Ring().Open(purpose, sealed)
}

// SealingKID calls Ring.SealingKID.
func (s *Set) SealingKID() string { return s.Ring().SealingKID() }
