// Package keysource keeps the key sets of others, which are fetched, and verifies signatures with
// them.
//
//	keysource.go  Sources, all sources of a server
//	source.go     Source, one key set: when it is fetched, and how long it counts
//	keep.go       fetching before a request needs it
//	budget.go     how often one host is asked
//	metrics.go    metrics, and the sources that fail now
//
// A set is fetched before it is needed, and again every five minutes while it is named or used. A
// signature under a kid that is not in the set makes it be fetched at once, since the signer may
// have a new key; but any client of the token endpoint can make kids up, so this happens once in ten
// seconds for a source, and six times a minute for a host. All requests that wait for a set wait for
// one fetch.
//
// A key set that was read replaces the one before. While a source is away (nothing else comes from
// it than errors) the last set counts for a day.
package keysource

import (
	"context"
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
)

const (
	// DefaultInterval is how often a set is fetched whose response does not say how long it may be
	// cached.
	DefaultInterval = 5 * time.Minute
	// MinInterval is the least that counts of what the response says.
	MinInterval = time.Minute
	// MaxInterval is the most that counts of it.
	MaxInterval = 15 * time.Minute
	// GracePeriod is how long a set counts after it was last fetched.
	GracePeriod = 24 * time.Hour
	// RetryInterval is the least time between two fetches of a source, also for unknown kids and
	// after failures.
	RetryInterval = 10 * time.Second
	// idlePeriod is how long a source is kept that is not used.
	idlePeriod = GracePeriod
)

// Fetch gets a key set. MaxAge is how long it may be used before it is fetched again; 0 if the
// source does not say.
type Fetch func(ctx context.Context) (set jwks.Set, maxAge time.Duration, err error)

// Sources are the sources of a server. They are shared by all that name the same one. Safe for
// concurrent use.
type Sources struct {
	now     func() time.Time
	client  *fetch.Client
	metrics *Metrics
	budget  *hostBudget

	mu        sync.Mutex
	byKey     map[string]*Source
	lastSweep time.Time
}

// New returns no sources yet. Metrics may be nil.
func New(client *fetch.Client, now func() time.Time, metrics *Metrics) *Sources {
	s := &Sources{now: now, client: client, metrics: metrics, budget: newHostBudget(), byKey: map[string]*Source{}}
	metrics.setSources(s)
	return s
}

// Of returns the source with a key, and creates it if there is none. Host is whose budget of
// fetches for unknown kids it shares; empty: none. Get is the fetch of one that is created.
func (s *Sources) Of(key, host string, get Fetch) *Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.removeIdle(now)
	source := s.byKey[key]
	if source == nil {
		source = &Source{sources: s, host: host, get: get}
		s.byKey[key] = source
	}
	source.lastUsed.Store(now.UnixNano())
	return source
}

// URL returns the source of the key set at a URL.
func (s *Sources) URL(purpose fetch.Purpose, url string) *Source {
	key := clientKey(url)
	if purpose == fetch.ForIssuer {
		key = "issuer " + url
	}
	return s.Of(key, fetch.HostOf(url), func(ctx context.Context) (jwks.Set, time.Duration, error) {
		return s.Get(ctx, purpose, url)
	})
}

func clientKey(url string) string { return "client " + url }

// Get fetches and parses a key set, for the Fetch of a source that needs more than its URL.
func (s *Sources) Get(ctx context.Context, purpose fetch.Purpose, url string) (jwks.Set, time.Duration, error) {
	response, err := s.client.Get(ctx, purpose, url)
	if err != nil {
		return jwks.Set{}, 0, err
	}
	set, err := jwks.Parse(response.Body)
	if err != nil {
		return jwks.Set{}, 0, fetch.NewError(fetch.BadAnswer, err)
	}
	return set, response.MaxAge, nil
}

// removeIdle forgets, once an hour, the sources that are not used any more. The caller holds the
// lock.
func (s *Sources) removeIdle(now time.Time) {
	if now.Sub(s.lastSweep) < time.Hour {
		return
	}
	s.lastSweep = now
	for key, source := range s.byKey {
		if now.Sub(time.Unix(0, source.lastUsed.Load())) > idlePeriod {
			delete(s.byKey, key)
		}
	}
}
