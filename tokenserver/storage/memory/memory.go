// Package memory keeps records in the memory of one process: for tests, and for a server with one
// replica that may forget its grants when it restarts. A code that was issued before a restart must
// not be redeemed after it, since the store has forgotten whether it was redeemed before. So codes
// contain the store's ID.
//
//	memory.go      the Store, its id, its bounds and the sweep
//	grants.go      grants and their indexes
//	consents.go    consents
//	identities.go  identities
//	marks.go       marks
package memory

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Store is a storage.Store in memory. It is safe for concurrent use.
type Store struct {
	storage.EndNotifier
	storage.VoidGrants
	storage.IdentitySpecs

	now func() time.Time
	id  string

	mu                  sync.Mutex
	version             uint64
	grants              map[string]storage.Grant
	notEndedOf          map[userAndClient]map[string]struct{} // ids of grants that have not ended
	notEnded            int                                   // how many those are; some may have expired
	lastSweep           time.Time                             // the last one by createGrant
	consents            map[userAndClient]storage.Consent
	identities          map[string]storage.Identity // by subject
	marks               map[markKey]time.Time
	markCounter         storage.MarkCounter
	maxPerUserAndClient int
	maxPerServer        int
	maxIdentities       int
}

var _ storage.Store = (*Store)(nil)

type userAndClient struct{ user, client string }

// New returns an empty store with an id taken from random.
func New(now func() time.Time, random io.Reader) (*Store, error) {
	var id [16]byte
	if _, err := io.ReadFull(random, id[:]); err != nil {
		return nil, fmt.Errorf("reading randomness for the store's id: %w", err)
	}
	return &Store{
		now: now, id: hex.EncodeToString(id[:]),
		grants:     map[string]storage.Grant{},
		notEndedOf: map[userAndClient]map[string]struct{}{},
		consents:   map[userAndClient]storage.Consent{}, identities: map[string]storage.Identity{}, marks: map[markKey]time.Time{},
		maxPerUserAndClient: storage.MaxGrantsPerUserAndClient, maxPerServer: storage.MaxGrantsPerServer,
		maxIdentities: storage.MaxIdentitiesPerServer,
	}, nil
}

// ID returns 32 random hexadecimal digits that are different for every Store.
func (s *Store) ID() string { return s.id }

// SetGrantBounds replaces the bounds on live grants. Tests use it: reaching the real bounds takes
// 100,000 grants.
func (s *Store) SetGrantBounds(perUserAndClient, perServer int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxPerUserAndClient, s.maxPerServer = perUserAndClient, perServer
}

// SetIdentityBound replaces the bound on identities of the server, for tests like SetGrantBounds.
func (s *Store) SetIdentityBound(perServer int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxIdentities = perServer
}

// SetMarkBounds replaces the bounds on marks of a kind, for tests like SetGrantBounds.
func (s *Store) SetMarkBounds(kind storage.MarkKind, bounds storage.MarkBounds) {
	s.markCounter.SetBounds(kind, bounds)
}

// CountGrants returns how many grants have not ended. Those that have expired since the last sweep
// are among them.
func (s *Store) CountGrants() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.notEnded
}

// Sweep implements storage.Store.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	if ctx.Err() != nil {
		return 0, storage.ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sweepGrants(now) + s.sweepIdentities(now) + s.sweepMarks(now), nil
}

func (s *Store) nextVersion() string {
	s.version++
	return strconv.FormatUint(s.version, 10)
}
