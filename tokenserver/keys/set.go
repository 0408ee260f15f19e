// Package keys holds a server's keys: it signs and verifies tokens, seals what the server gives away and wants back, and publishes the public
// halves. Material comes from files; what may be done with a key (its phase, its revocation) comes from the server's document, so that
// revoking a key acts at once.
//
// set.go puts material and document together, load.go reads the files, ring.go is the immutable result, sign.go signs and verifies JWTs, seal.go
// seals and opens, jwks.go publishes, generate.go makes new keys for the manager.
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
	// ErrInvalid: a token or sealed value is not one that this server made, or its key is revoked or gone. No more is said.
	ErrInvalid = errors.New("not made by this server")
	// ErrNoKey: there is no usable key for what was asked.
	ErrNoKey = errors.New("no usable key")
)

// Set is the keys of a server: material and document, which change independently, and the Ring that follows from both. Readers see one Ring
// or the next, never a mix.
type Set struct {
	random io.Reader
	ring   atomic.Pointer[Ring]

	mu        sync.Mutex // guards what follows; writers only
	filesHash [sha256.Size]byte
	loaded    bool
	loadErr   error // of the files that were read last
	material  map[string]keyMaterial
	document  documents.Server
}

// NewSet returns an empty set that takes nonces from random. It can do nothing before LoadDir and Use.
func NewSet(random io.Reader) *Set {
	s := &Set{random: random}
	s.ring.Store(newRing(random, documents.Server{}, nil))
	return s
}

// Use puts a server's document in force: issuer, phases and revocation. It returns the kids that the document lists, does not revoke and
// that are not held, or held with another algorithm. Using the same document again costs nothing.
func (s *Set) SetDocument(doc documents.Server) (missing []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !reflect.DeepEqual(s.document, doc) {
		s.document = doc
		s.ring.Store(newRing(s.random, doc, s.material))
	}
	return slices.Clone(s.Ring().missing)
}

// Ring is what holds now. A request that needs one view throughout keeps it.
func (s *Set) Ring() *Ring { return s.ring.Load() }

// Held are the kids of the material that was read, sorted; also those that no document lists.
func (s *Set) LoadedKIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.material))
}

// Problem says what keeps the server from signing and sealing, in words for its owner; empty if nothing does.
func (s *Set) Problem() string { return s.Ring().problem }

// Sign is Ring.Sign.
func (s *Set) Sign(alg, typ string, claims any) (token string, err error) {
	return s.Ring().Sign(alg, typ, claims)
}

// Verify is Ring.Verify.
func (s *Set) Verify(token, typ string, claims any) error { return s.Ring().Verify(token, typ, claims) }

// JWKS is the JWK Set (RFC 7517 section 5) of the public keys, as JSON. The caller must not change it.
func (s *Set) JWKS() []byte { return s.Ring().jwks }

// Seal is Ring.Seal.
func (s *Set) Seal(purpose Purpose, plaintext []byte) (string, error) {
	return s.Ring().Seal(purpose, plaintext)
}

// SealDeterministic is Ring.SealDeterministic.
func (s *Set) SealDeterministic(purpose Purpose, kid string, plaintext []byte) (string, error) {
	return s.Ring().SealDeterministic(purpose, kid, plaintext)
}

// Open is Ring.Open.
func (s *Set) Open(purpose Purpose, sealed string) (plaintext []byte, err error) {
	return s.Ring().Open(purpose, sealed)
}

// SealingKID is the kid of the Active sealing key; empty if there is none.
func (s *Set) SealingKID() string { return s.Ring().SealingKID() }
