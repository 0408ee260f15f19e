package kubernetes

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// consentCache is a cache.ReflectorStore of the UIDs of the consents of the server.
type consentCache struct {
	watchedCache

	mu   sync.RWMutex
	uids map[pair]types.UID
}

func newConsentCache(s *Store) *consentCache {
	return &consentCache{watchedCache: watchedCache{newWatchProgress(), s}, uids: map[pair]types.UID{}}
}

// Add implements cache.ReflectorStore. A consent that is being deleted is withdrawn, although a
// finalizer still keeps it.
func (c *consentCache) Add(obj any) error {
	o, err := objectAs[*v1alpha1.OAuthConsent](obj)
	if err != nil {
		return err
	}
	if o.DeletionTimestamp != nil {
		return c.Delete(o)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uids[pairOf(o)] = o.UID
	return nil
}

// Update implements cache.ReflectorStore.
func (c *consentCache) Update(obj any) error { return c.Add(obj) }

// Delete implements cache.ReflectorStore.
func (c *consentCache) Delete(obj any) error {
	o, err := objectAs[*v1alpha1.OAuthConsent](obj)
	if err != nil {
		return err
	}
	c.mu.Lock()
	if c.uids[pairOf(o)] == o.UID {
		delete(c.uids, pairOf(o))
	}
	c.mu.Unlock()
	c.store.handleConsentDeletion(pairOf(o), o.UID)
	return nil
}

// Replace implements cache.ReflectorStore. What the list lacks was deleted while the watch was
// broken.
func (c *consentCache) Replace(list []any, resourceVersion string) error {
	uids := make(map[pair]types.UID, len(list))
	for _, obj := range list {
		o, err := objectAs[*v1alpha1.OAuthConsent](obj)
		if err != nil {
			return err
		}
		if o.DeletionTimestamp == nil {
			uids[pairOf(o)] = o.UID
		}
	}
	c.mu.Lock()
	before := c.uids
	c.uids = uids
	c.mu.Unlock()
	for p, uid := range before {
		if uids[p] != uid {
			c.store.handleConsentDeletion(p, uid)
		}
	}
	c.setListed(resourceVersion)
	return nil
}

// has reports whether the consent of a pair has the UID.
func (c *consentCache) has(p pair, uid types.UID) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return uid != "" && c.uids[p] == uid
}

func pairOf(o *v1alpha1.OAuthConsent) pair { return pair{o.Spec.UserUID, o.Spec.ClientUID} }
