// Package memory keeps records in the memory of one process: for tests, and for a server with one replica that may forget its grants when it
// restarts. What was issued before a restart must not be redeemed after it, since nothing remembers whether it was redeemed already: codes
// carry the store's Epoch.
//
//	memory.go    the store, its epoch and its bounds
//	grants.go    grants and their indexes
//	consents.go  consents, and the sweep of what has expired
//	marks.go     marks
package memory

import (
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Store is a storage.Store. Its methods are safe for use by many.
type Store struct {
	storage.EndNotifier

	now   func() time.Time
	epoch string

	mu                  sync.Mutex
	version             uint64
	grants              map[string]storage.Grant
	byUser              map[string]map[string]map[string]struct{} // user UID, client UID, ids of grants
	notEndedOf          map[userAndClient]map[string]struct{}     // ids of grants that have not ended
	notEnded            int                                       // how many those are; some may have expired
	lastSweep           time.Time                                 // when there was no room last
	consents            map[userAndClient]storage.Consent
	marks               map[markKey]time.Time
	markCounter         storage.MarkCounter // of the marks
	maxPerUserAndClient int
	maxPerServer        int
}

var _ storage.Store = (*Store)(nil)

type userAndClient struct{ user, client string }

// New returns an empty store with an epoch taken from random.
func New(now func() time.Time, random io.Reader) (*Store, error) {
	var epoch [16]byte
	if _, err := io.ReadFull(random, epoch[:]); err != nil {
		return nil, fmt.Errorf("draw the store's epoch: %w", err)
	}
	return &Store{
		now: now, epoch: hex.EncodeToString(epoch[:]),
		grants: map[string]storage.Grant{}, byUser: map[string]map[string]map[string]struct{}{},
		notEndedOf: map[userAndClient]map[string]struct{}{},
		consents:   map[userAndClient]storage.Consent{}, marks: map[markKey]time.Time{},
		maxPerUserAndClient: storage.MaxGrantsPerUserAndClient, maxPerServer: storage.MaxGrantsPerServer,
	}, nil
}

// Epoch is random and of this store alone: 32 hexadecimal digits.
func (s *Store) Epoch() string { return s.epoch }

// SetGrantBounds replaces the bounds on live grants of a pair and of the server.
func (s *Store) SetGrantBounds(ofPair, ofServer int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxPerUserAndClient, s.maxPerServer = ofPair, ofServer
}

// SetMarkBounds replaces the bounds on marks of a kind.
func (s *Store) SetMarkBounds(kind storage.MarkKind, bounds storage.MarkBounds) {
	s.markCounter.SetBounds(kind, bounds)
}

func (s *Store) nextVersion() string {
	s.version++
	return strconv.FormatUint(s.version, 10)
}
