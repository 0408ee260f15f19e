// Package kubernetes keeps records as objects of the cluster, in the namespace of their
// AuthorizationServer: OAuthGrants, OAuthConsents and OAuthIdentities, which people may read and
// delete, and Marks.
//
//	kubernetes.go     Store, how it starts and runs
//	recent.go         reads that may be a few seconds old
//	requests.go       one request to the API server, and what its error means for what was written
//	objects.go        records to objects and back: names, labels, fields
//	grants.go         the methods for grants
//	creation.go       what a new grant is checked for after it was created
//	consents.go       the methods for consents
//	identities.go     the methods for identities
//	marks.go          the methods for marks
//	watch.go          the four watches, how far each has come, and whether they are up to date
//	stream.go         what is read of a grant
//	grant_cache.go    what the watches have sent, as are consent_cache.go, identity_cache.go and mark_cache.go
//	deletions.go      what has to be done after a grant or a consent was deleted with kubectl
//	sweep.go          deletes expired objects, and warns near the bound on grants
//	lease.go          which replica sweeps
//
// What must be right is read from the API server: a record before it is changed, and a mark before
// it is taken to be missing. The API server decides every race, by names and resource versions. The
// caches that the watches fill serve the reads of storage.RecentReader, the bounds and the sweep.
//
// They also remember deletions. A user of kubectl may delete a grant while its code could still be
// redeemed; redeeming it again must not create the grant again. The watch of a replica sends the
// deletion before it sends anything that was created later under the same name, so a new grant
// counts only once the watch has sent it. For replicas that start later, a Mark records the
// deletion.
package kubernetes

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Config configures a Store. All fields are required, except for Username, ClientID and Changed.
type Config struct {
	// Namespace, ServerName and ServerUID are those of the AuthorizationServer.
	Namespace  string
	ServerName string
	ServerUID  string
	// ReplicaName is the name of this process, unique among the replicas of the
	// AuthorizationServer.
	ReplicaName string
	// Username and ClientID return the current name of a user or client by its UID, or "" if it is
	// not known. The names are written into objects for people to read.
	Username func(userUID string) string
	ClientID func(clientUID string) string

	// Changed is called when the result of Problem may have changed.
	Changed func()

	Now     func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Store is a storage.Store. Its methods return storage.ErrUnavailable until Run has read all
// objects.
type Store struct {
	storage.EndNotifier
	storage.VoidGrants
	storage.IdentitySpecs

	config  Config
	clients clients

	grants     *grantCache
	consents   *consentCache
	identities *identityCache
	marks      *markCache
	deletions  *deletionQueue

	// watchesConfirmed is when the watches were last known to work; nil if never.
	watchesConfirmed atomic.Pointer[time.Time]
	isLeader         atomic.Bool // this replica sweeps

	sweepMu    sync.Mutex
	lastListed time.Time // when the sweep last listed all objects; guarded by sweepMu
	lastWarned time.Time // when the event near the bound was last written; guarded by sweepMu

	mu            sync.Mutex
	maxPair       int
	maxLive       int
	maxIdentities int
	uncertain     map[string]time.Time // names of grants whose creation is not confirmed, and since when
}

var _ storage.Store = (*Store)(nil)

// New returns a Store. It sends no request before Run.
func New(api *rest.Config, config Config) (*Store, error) {
	if config.Namespace == "" || config.ServerName == "" || config.ServerUID == "" || config.ReplicaName == "" {
		return nil, errors.New("the name of the server or of the replica is missing")
	}
	clients, err := newClients(api)
	if err != nil {
		return nil, err
	}
	s := &Store{
		config: config, clients: clients, deletions: newDeletionQueue(),
		maxPair: storage.MaxGrantsPerUserAndClient, maxLive: storage.MaxGrantsPerServer, maxIdentities: storage.MaxIdentitiesPerServer,
		uncertain: map[string]time.Time{},
	}
	s.grants, s.consents, s.identities, s.marks = newGrantCache(s), newConsentCache(s), newIdentityCache(s), newMarkCache(s)
	if err := storage.RegisterLiveGrants(config.Metrics, func() int { return s.grants.countLive(s.config.Now()) }); err != nil {
		return nil, err
	}
	return s, nil
}

// Run watches the objects, and does what has to be done after some were deleted with kubectl, until
// ctx ends.
func (s *Store) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, r := range s.reflectors() {
		running.Go(func() { r.RunWithContext(ctx) })
	}
	running.Go(func() { s.confirmWatches(ctx) })
	running.Go(func() { s.processDeletions(ctx) })
	running.Wait()
}

// Problem returns what keeps the store from being used, or "".
func (s *Store) Problem() string {
	if !s.isSynced() {
		return "the grants, consents, identities and marks have not been read yet"
	}
	return ""
}

// handleListed is called after each complete list of a kind.
func (s *Store) handleListed() {
	if !s.isSynced() {
		return
	}
	if s.config.Changed != nil {
		s.config.Changed()
	}
	s.checkConsents()
}

// SetGrantBounds replaces the bounds on live grants of a pair and of the server.
func (s *Store) SetGrantBounds(ofPair, ofServer int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxPair, s.maxLive = ofPair, ofServer
}

// SetIdentityBound replaces the bound on identities of the server.
func (s *Store) SetIdentityBound(ofServer int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxIdentities = ofServer
}

func (s *Store) identityBound() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.maxIdentities
}

// SetMarkBounds replaces the bounds on marks of a kind.
func (s *Store) SetMarkBounds(kind storage.MarkKind, bounds storage.MarkBounds) {
	s.marks.places.SetBounds(kind, bounds)
}

func (s *Store) bounds() (ofPair, ofServer int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.maxPair, s.maxLive
}
