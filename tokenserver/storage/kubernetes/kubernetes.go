// Package kubernetes keeps records as objects of the cluster, beside their AuthorizationServer: OAuthGrants and OAuthConsents, which people may
// read and delete, and Marks.
//
//	kubernetes.go  the store, its parts and its life
//	requests.go    one request: its deadline, and what an error means for what was written
//	objects.go     records as objects: names, labels, fields
//	grants.go      the verbs of grants
//	settle.go      what a new grant has to pass: it was not there before, and the pair's bound
//	consents.go    the verbs of consents
//	marks.go       the verbs of marks
//	watch.go       three watches, how far each has come, and how fresh they are
//	cache.go       what the watches brought
//	chores.go      what a deletion by hand leads to: grants end with their consent, and what was deleted stays dead
//	sweep.go       expiry, and the event near the bound
//	lease.go       which replica sweeps
//
// What must be right is read from the API server: a record before it is changed, a mark before it is believed to be missing. The API server
// decides every race, by names and resource versions. The watches serve what may be a moment behind (Recent), the bounds, and the sweep; and
// they are the memory of what was deleted. A grant that is deleted while its code could still be redeemed must not come to life again: the
// watch of a replica brings the deletion before it brings anything that was created later under the same name, so a creation is believed only
// when the watch has brought it. For replicas that start later, a Mark keeps the deletion in mind.
package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Config says whose records these are. All fields are needed, but for Username, ClientID and Changed.
type Config struct {
	// Namespace, ServerName and ServerUID are those of the AuthorizationServer.
	Namespace  string
	ServerName string
	ServerUID  string
	// ReplicaName tells this process from the others of the server.
	ReplicaName string
	// Username and ClientID say who has a UID now, for the people who look at the objects; empty if that is not known.
	Username func(userUID string) string
	ClientID func(clientUID string) string

	// Changed is told when what Problem says may have changed.
	Changed func()

	Now     func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Store is a storage.Store. It serves once Run has read what there is.
type Store struct {
	storage.EndNotifier

	config  Config
	clients clients

	grants   *grantCache
	consents *consentCache
	marks    *markCache
	chores   *chores

	confirmed atomic.Pointer[time.Time] // when it was last known that the watches work; nil if never
	leads     atomic.Bool               // this replica sweeps
	sweeping  sync.Mutex
	readAll   time.Time // when the sweep last read all objects; guarded by sweeping, as is the next
	warned    time.Time // when the event near the bound was last written

	mu        sync.Mutex
	maxPair   int
	maxLive   int
	uncertain map[string]time.Time // names of grants whose creation is not settled, and since when
}

var _ storage.Store = (*Store)(nil)

// New prepares the store. It does not talk to the API server yet.
func New(api *rest.Config, config Config) (*Store, error) {
	if config.Namespace == "" || config.ServerName == "" || config.ServerUID == "" || config.ReplicaName == "" {
		return nil, errors.New("the server or the replica is not named")
	}
	clients, err := newClients(api)
	if err != nil {
		return nil, err
	}
	s := &Store{
		config: config, clients: clients,
		maxPair: storage.MaxGrantsPerUserAndClient, maxLive: storage.MaxGrantsPerServer, uncertain: map[string]time.Time{},
	}
	s.chores = newChores()
	s.grants = &grantCache{progress: newProgress(), store: s}
	s.consents = &consentCache{progress: newProgress(), store: s}
	s.marks = &markCache{progress: newProgress(), store: s}
	if err := s.register(config.Metrics); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Store) register(metrics prometheus.Registerer) error {
	live := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "oauth_operator", Subsystem: "tokenserver", Name: "live_grants",
		Help: "Grants of the server that have neither ended nor expired. At 100000 no more can begin. Every replica tells the same number.",
	}, func() float64 { return float64(s.grants.live(s.config.Now())) })
	if err := metrics.Register(live); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// Run watches the records, and does what follows from their deletion by hand, until ctx ends.
func (s *Store) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, r := range s.reflectors() {
		running.Go(func() { r.RunWithContext(ctx) })
	}
	running.Go(func() { s.confirm(ctx) })
	running.Go(func() { s.doChores(ctx) })
	running.Wait()
}

// Problem says what keeps the store from being used; empty if nothing does.
func (s *Store) Problem() string {
	if !s.synced() {
		return "the grants, consents and marks have not been read yet"
	}
	return ""
}

// listed follows the first list of each kind of record, and those after the watch was broken.
func (s *Store) listed() {
	if !s.synced() {
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

// SetMarkBounds replaces the bounds on marks of a kind.
func (s *Store) SetMarkBounds(kind storage.MarkKind, bounds storage.MarkBounds) {
	s.marks.places.SetBounds(kind, bounds)
}

func (s *Store) bounds() (ofPair, ofServer int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.maxPair, s.maxLive
}

// RecentReader gives reads from what the watches brought, as storage.RecentReader wants them. While a watch is broken, the API server is asked; if it cannot
// be reached either, what the watches brought last is good for as long as storage.MaxRecentLag.
func (s *Store) RecentReader() storage.Reader { return recent{s} }

type recent struct{ *Store }

// Grant is found in the cache or at the API server: one that another replica has just created is not in the cache yet.
func (r recent) GetGrant(ctx context.Context, id string) (storage.Grant, error) {
	name := r.grantName(id)
	if r.dead(name) {
		return storage.Grant{}, storage.ErrNotFound
	}
	cached, ok := r.grants.get(name)
	if ok && (cached.IsEnded() || r.fresh()) {
		return cached, nil
	}
	g, err := r.Store.GetGrant(ctx, id)
	if errors.Is(err, storage.ErrUnavailable) && ok && r.recent() {
		return cached, nil
	}
	return g, err
}

// Consented finds the consent in the cache. One that is not there, or is another, is looked for at
// the API server: another replica may have just created it.
func (r recent) HasConsent(ctx context.Context, userUID, clientUID, consentUID string) (bool, error) {
	cached := r.consents.has(pair{userUID, clientUID}, types.UID(consentUID))
	if cached && r.fresh() {
		return true, nil
	}
	consented, err := r.Store.HasConsent(ctx, userUID, clientUID, consentUID)
	if errors.Is(err, storage.ErrUnavailable) && cached && r.recent() {
		return true, nil
	}
	return consented, err
}

// Marked finds a mark in the cache. That it is not there means no while the watch is known to work.
func (r recent) IsMarked(ctx context.Context, kind storage.MarkKind, id string) (bool, error) {
	if r.marks.has(r.markName(kind, id), r.config.Now()) {
		return true, nil
	}
	if r.fresh() {
		return false, nil
	}
	marked, err := r.Store.IsMarked(ctx, kind, id)
	if errors.Is(err, storage.ErrUnavailable) && r.recent() {
		return false, nil
	}
	return marked, err
}
