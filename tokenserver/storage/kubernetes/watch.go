package kubernetes

import (
	"context"
	"errors"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilwait "k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	servedv1alpha1 "github.com/oauth-operator/oauth-operator/api/served/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

func (s *Store) reflectors() []*cache.Reflector {
	return []*cache.Reflector{
		s.reflector(s.clients.public, grantResource, v1alpha1.ServerUIDLabel, &v1alpha1.OAuthGrant{}, s.grants, s.grants.progress),
		s.reflector(s.clients.public, consentResource, v1alpha1.ServerUIDLabel, &v1alpha1.OAuthConsent{}, s.consents, s.consents.progress),
		s.reflector(s.clients.internal, markResource, servedv1alpha1.ServerUIDLabel, &servedv1alpha1.Mark{}, s.marks, s.marks.progress),
	}
}

func (s *Store) reflector(
	client rest.Interface, resource, label string, kind runtime.Object, into cache.ReflectorStore, progress *progress,
) *cache.Reflector {
	ours := func(o *metav1.ListOptions) { o.LabelSelector = label + "=" + s.config.ServerUID }
	lw := cache.NewFilteredListWatchFromClient(client, resource, s.config.Namespace, ours)
	inner := lw.WatchFuncWithContext
	lw.WatchFuncWithContext = func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		w, err := inner(ctx, o)
		if err != nil {
			progress.closed()
			return nil, err
		}
		progress.opened(o.SendInitialEvents != nil && *o.SendInitialEvents)
		return &endingWatch{Interface: w, ended: progress.closed}, nil
	}
	return cache.NewReflectorWithOptions(lw, kind, into, cache.ReflectorOptions{
		Name: resource,
		// While a watch is broken, no grant can begin; it must be back soon after the API server is.
		Backoff: &utilwait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 10, Cap: 2 * time.Second},
	})
}

// endingWatch tells when it ends.
type endingWatch struct {
	watch.Interface
	ended func()
}

// Stop ends the watch.
func (w *endingWatch) Stop() {
	w.ended()
	w.Interface.Stop()
}

// progress is how far a watch has come.
type progress struct {
	mu      sync.Mutex
	open    bool
	listing bool // the watch brings all there is first, and until that is complete the cache holds what it held before
	synced  bool
	version uint64
	waiting map[chan struct{}]uint64 // closed when the version is reached
}

func newProgress() *progress { return &progress{waiting: map[chan struct{}]uint64{}} }

func (p *progress) opened(listing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open, p.listing = true, listing
}

func (p *progress) closed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = false
}

// state says whether there was a first list, and whether a watch keeps up what the cache holds.
func (p *progress) state() (synced, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.synced, p.open && !p.listing
}

// replaced notes that the cache holds all there is at the version.
func (p *progress) replaced(resourceVersion string) {
	p.mu.Lock()
	p.listing = false
	p.mu.Unlock()
	p.reached(resourceVersion)
}

// reached notes that everything up to the version is in the cache.
func (p *progress) reached(resourceVersion string) {
	version := versionOf(resourceVersion)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.synced, p.version = true, max(p.version, version)
	for c, wanted := range p.waiting {
		if wanted <= p.version {
			close(c)
			delete(p.waiting, c)
		}
	}
}

// wait until everything up to the version is in the cache; false if ctx ended first, or the version is none.
func (p *progress) wait(ctx context.Context, version uint64) bool {
	p.mu.Lock()
	if version == 0 || p.synced && p.version >= version {
		p.mu.Unlock()
		return version != 0
	}
	c := make(chan struct{})
	p.waiting[c] = version
	p.mu.Unlock()
	select {
	case <-c:
		return true
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.waiting, c)
		return false
	}
}

func (s *Store) watches() []*progress {
	return []*progress{s.grants.progress, s.consents.progress, s.marks.progress}
}

func (s *Store) synced() bool {
	for _, p := range s.watches() {
		if synced, _ := p.state(); !synced {
			return false
		}
	}
	return true
}

func (s *Store) open() bool {
	for _, p := range s.watches() {
		if synced, open := p.state(); !synced || !open {
			return false
		}
	}
	return true
}

// confirmEvery is how often the connection is tried. A broken one would otherwise be noticed only when TCP or HTTP/2 give up on it, and what
// another replica has revoked would be called active meanwhile.
const confirmEvery = 5 * time.Second

// recent says whether the caches held what held not long ago. The clock that is compared here is not the one on the wall, which may be set back;
// where there is no other, and it was, nobody can know.
func (s *Store) recent() bool {
	confirmed := s.confirmed.Load()
	if confirmed == nil {
		return false
	}
	age := s.config.Now().Sub(*confirmed)
	return age >= 0 && age < storage.MaxRecentLag
}

// fresh says whether they do so still, as far as anybody can know.
func (s *Store) fresh() bool { return s.open() && s.recent() }

// confirm now and then that the API server answers while the watches are open, which share its connection.
func (s *Store) confirm(ctx context.Context) {
	for wait := 50 * time.Millisecond; pause(ctx, wait); {
		if wait = 100 * time.Millisecond; !s.open() {
			continue
		}
		began := s.config.Now()
		err := get(ctx, s.in(s.clients.leases.Get(), leaseResource), s.leaseName(), &coordinationv1.Lease{})
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			continue
		}
		s.confirmed.Store(&began)
		wait = confirmEvery
	}
}

// pause waits; false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
