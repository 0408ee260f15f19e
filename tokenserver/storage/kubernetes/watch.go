package kubernetes

import (
	"context"
	"errors"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/tools/cache"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
	"github.com/oauth-operator/oauth-operator/tokenserver/kubeclient"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// confirmInterval is how often it is checked that the API server answers. Otherwise a dead
// connection would be noticed only when TCP or HTTP/2 give it up, and until then what another
// replica has revoked would be reported as active.
const confirmInterval = 5 * time.Second

func (s *Store) reflectors() []*cache.Reflector {
	ofServer := v1alpha1.ServerUIDLabel + "=" + s.config.ServerUID
	return []*cache.Reflector{
		s.newReflector(grantResource, s.grants.progress, kubeclient.Watch{
			LabelSelector: ofServer, Object: &v1alpha1.OAuthGrant{}, Store: s.grants, Decoder: grantDecoder,
		}),
		s.newReflector(consentResource, s.consents.progress, kubeclient.Watch{LabelSelector: ofServer, Object: &v1alpha1.OAuthConsent{}, Store: s.consents}),
		// An OAuthIdentity that its owner wrote has no label of ours.
		s.newReflector(identityResource, s.identities.progress, kubeclient.Watch{Object: &v1alpha1.OAuthIdentity{}, Store: s.identities}),
		s.newReflector(markResource, s.marks.progress, kubeclient.Watch{
			LabelSelector: internalv1alpha1.ServerUIDLabel + "=" + s.config.ServerUID, Object: &internalv1alpha1.Mark{}, Store: s.marks,
		}),
	}
}

// newReflector returns the reflector of a watch, of which the selector, the object, the store and the
// decoder are given.
func (s *Store) newReflector(resource string, progress *watchProgress, w kubeclient.Watch) *cache.Reflector {
	w.Client, w.Namespace, w.Resource = s.clients.of(resource), s.config.Namespace, resource
	// While a watch is broken no grant can be created, so it is opened again soon.
	w.MinRetryDelay, w.MaxRetryDelay = 100*time.Millisecond, 2*time.Second
	w.OnOpen, w.OnClose = progress.setOpen, progress.setClosed
	return kubeclient.NewReflector(w)
}

// watchProgress is how far a watch has come.
type watchProgress struct {
	mu      sync.Mutex
	open    bool
	synced  bool
	version uint64
	waiters map[chan struct{}]uint64 // each is closed when the version is reached
}

func newWatchProgress() *watchProgress { return &watchProgress{waiters: map[chan struct{}]uint64{}} }

func (p *watchProgress) setOpen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = true
}

func (p *watchProgress) setClosed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = false
}

// isSynced reports whether all objects have been read once.
func (p *watchProgress) isSynced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.synced
}

// isUpToDate reports whether all objects have been read and an open watch sends every change.
func (p *watchProgress) isUpToDate() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.synced && p.open
}

// advance records that the cache has every change up to a version.
func (p *watchProgress) advance(resourceVersion string) {
	version := parseVersion(resourceVersion)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.synced, p.version = true, max(p.version, version)
	for c, wanted := range p.waiters {
		if wanted <= p.version {
			close(c)
			delete(p.waiters, c)
		}
	}
}

// waitFor waits until the cache has every change up to a version. It returns false if ctx ends
// first, or if version is 0.
func (p *watchProgress) waitFor(ctx context.Context, version uint64) bool {
	p.mu.Lock()
	if version == 0 || p.synced && p.version >= version {
		p.mu.Unlock()
		return version != 0
	}
	c := make(chan struct{})
	p.waiters[c] = version
	p.mu.Unlock()
	select {
	case <-c:
		return true
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.waiters, c)
		return false
	}
}

// watchedCache is what the four caches have in common.
type watchedCache struct {
	progress *watchProgress
	store    *Store
}

// Resync implements cache.ReflectorStore. There is nothing to do: the caches need no refresh.
func (c watchedCache) Resync() error { return nil }

// UpdateResourceVersion is called by the reflector when the cache has everything up to the version.
func (c watchedCache) UpdateResourceVersion(resourceVersion string) {
	c.progress.advance(resourceVersion)
}

// setListed is called at the end of Replace.
func (c watchedCache) setListed(resourceVersion string) {
	c.progress.advance(resourceVersion)
	c.store.handleListed()
}

// isSynced reports whether all grants, consents, identities and marks have been read once.
func (s *Store) isSynced() bool {
	return s.grants.progress.isSynced() && s.consents.progress.isSynced() && s.identities.progress.isSynced() && s.marks.progress.isSynced()
}

func (s *Store) isUpToDate() bool {
	return s.grants.progress.isUpToDate() && s.consents.progress.isUpToDate() && s.identities.progress.isUpToDate() && s.marks.progress.isUpToDate()
}

// isRecent reports whether the caches were confirmed less than storage.MaxRecentLag ago. The
// difference is that of monotonic clocks where there are such; a wall clock that was set back makes
// it false.
func (s *Store) isRecent() bool {
	confirmed := s.watchesConfirmed.Load()
	if confirmed == nil {
		return false
	}
	age := s.config.Now().Sub(*confirmed)
	return age >= 0 && age < storage.MaxRecentLag
}

// isFresh reports whether the caches are up to date, as far as can be known.
func (s *Store) isFresh() bool { return s.isUpToDate() && s.isRecent() }

// confirmWatches checks until ctx ends that the API server answers while the watches are open. They
// share its connection.
func (s *Store) confirmWatches(ctx context.Context) {
	for delay := 50 * time.Millisecond; clock.Sleep(ctx, delay); {
		if delay = 100 * time.Millisecond; !s.isUpToDate() {
			continue
		}
		began := s.config.Now()
		err := s.readObject(ctx, leaseResource, s.leaseName(), &coordinationv1.Lease{})
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			continue
		}
		s.watchesConfirmed.Store(&began)
		delay = confirmInterval
	}
}
