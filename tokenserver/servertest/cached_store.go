package servertest

import (
	"context"
	"sync"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// CachedStore is a store with cheaper reads beside its own (storage.RecentReader), as an informer's
// cache provides them. Faults of the store do not affect the cached reads. Freeze makes them lag.
type CachedStore struct {
	storage.Store
	source storage.Reader

	mu     sync.Mutex
	frozen map[string]storage.Grant
	// identities are frozen too, by subject.
	identities map[string]storage.Identity
}

// UseCachedReads makes the Server's grants and users use the store, whose records are those of Memory, with
// cached reads.
func (s *Server) UseCachedReads(store storage.Store) *CachedStore {
	cached := &CachedStore{Store: store, source: s.Memory}
	s.Grants.Store, s.Users.Store = cached, cached
	return cached
}

// Freeze makes cached reads of these grants return what is given, whatever becomes of the records.
func (c *CachedStore) Freeze(grants ...storage.Grant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = map[string]storage.Grant{}
	for _, g := range grants {
		c.frozen[g.ID] = g
	}
}

// FreezeIdentity makes cached reads of an identity return it as it is now.
func (c *CachedStore) FreezeIdentity(i storage.Identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.identities = map[string]storage.Identity{i.Subject: i}
}

// CatchUp makes cached reads return the records again.
func (c *CachedStore) CatchUp() {
	c.Freeze()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.identities = nil
}

// RecentReader returns the cached reads.
func (c *CachedStore) RecentReader() storage.Reader { return cachedReader{c} }

type cachedReader struct{ store *CachedStore }

// GetGrant implements storage.Reader.
func (r cachedReader) GetGrant(ctx context.Context, id string) (storage.Grant, error) {
	r.store.mu.Lock()
	g, frozen := r.store.frozen[id]
	r.store.mu.Unlock()
	if frozen {
		return g, nil
	}
	return r.store.source.GetGrant(ctx, id)
}

// HasConsent implements storage.Reader.
func (r cachedReader) HasConsent(ctx context.Context, userUID, clientUID, consentUID string) (bool, error) {
	return r.store.source.HasConsent(ctx, userUID, clientUID, consentUID)
}

// GetIdentity implements storage.Reader.
func (r cachedReader) GetIdentity(ctx context.Context, subject string) (storage.Identity, error) {
	r.store.mu.Lock()
	i, frozen := r.store.identities[subject]
	r.store.mu.Unlock()
	if frozen {
		return i, nil
	}
	return r.store.source.GetIdentity(ctx, subject)
}

// IsMarked implements storage.Reader.
func (r cachedReader) IsMarked(ctx context.Context, kind storage.MarkKind, id string) (bool, error) {
	return r.store.source.IsMarked(ctx, kind, id)
}
