package kubernetes

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// identityCache is a cache.ReflectorStore of the OAuthIdentities of the server. Those without a record
// are of no effect, and are kept for the sweep only.
type identityCache struct {
	watchedCache

	mu         sync.RWMutex
	byName     map[string]*v1alpha1.OAuthIdentity // replaced, never changed
	records    int                                // how many of them have a record
	ofProvider map[types.UID]int                  // the same, by the UID of the provider
}

func newIdentityCache(s *Store) *identityCache {
	return &identityCache{
		watchedCache: watchedCache{newWatchProgress(), s},
		byName:       map[string]*v1alpha1.OAuthIdentity{}, ofProvider: map[types.UID]int{},
	}
}

// Add implements cache.ReflectorStore.
func (c *identityCache) Add(obj any) error {
	o, err := objectAs[*v1alpha1.OAuthIdentity](obj)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(o)
	return nil
}

// Update implements cache.ReflectorStore.
func (c *identityCache) Update(obj any) error { return c.Add(obj) }

// Delete implements cache.ReflectorStore.
func (c *identityCache) Delete(obj any) error {
	o, err := objectAs[*v1alpha1.OAuthIdentity](obj)
	if err != nil {
		return err
	}
	c.forget(o.Name, o.UID)
	return nil
}

// Replace implements cache.ReflectorStore. What the list lacks was deleted while the watch was
// broken.
func (c *identityCache) Replace(list []any, resourceVersion string) error {
	listed := make(map[string]*v1alpha1.OAuthIdentity, len(list))
	for _, obj := range list {
		o, err := objectAs[*v1alpha1.OAuthIdentity](obj)
		if err != nil {
			return err
		}
		listed[o.Name] = o
	}
	c.mu.Lock()
	for name := range c.byName {
		if listed[name] == nil {
			c.remove(name)
		}
	}
	for _, o := range listed {
		c.put(o)
	}
	c.mu.Unlock()
	c.setListed(resourceVersion)
	return nil
}

// put stores what the watch has sent, unless the cache has a later version of it.
func (c *identityCache) put(o *v1alpha1.OAuthIdentity) {
	if old, ok := c.byName[o.Name]; ok && parseVersion(old.ResourceVersion) > parseVersion(o.ResourceVersion) {
		return
	}
	c.remove(o.Name)
	if o.Spec.ServerRef.Name != c.store.config.ServerName {
		return
	}
	o = o.DeepCopy()
	o.ManagedFields = nil // they are as large as the rest
	c.byName[o.Name] = o
	if c.store.hasIdentity(o) {
		c.records++
		c.ofProvider[o.Status.ProviderUID]++
	}
}

func (c *identityCache) remove(name string) {
	old, ok := c.byName[name]
	if !ok {
		return
	}
	delete(c.byName, name)
	if !c.store.hasIdentity(old) {
		return
	}
	c.records--
	if c.ofProvider[old.Status.ProviderUID]--; c.ofProvider[old.Status.ProviderUID] == 0 {
		delete(c.ofProvider, old.Status.ProviderUID)
	}
}

// forget removes the object with a UID, which was deleted.
func (c *identityCache) forget(name string, uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.byName[name]; ok && old.UID == uid {
		c.remove(name)
	}
}

// replaceOwn puts what this process has read or written into the cache before the watch sends it. It
// adds none, as grantCache.replaceOwn.
func (c *identityCache) replaceOwn(o *v1alpha1.OAuthIdentity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byName[o.Name]; ok {
		c.put(o)
	}
}

// get returns an object that has a record.
func (c *identityCache) get(name string) (*v1alpha1.OAuthIdentity, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	o, ok := c.byName[name]
	return o, ok && c.store.hasIdentity(o)
}

// count returns how many identities a provider has, and how many the server.
func (c *identityCache) count(providerUID types.UID) (ofProvider, ofServer int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.ofProvider[providerUID], c.records
}

// idle returns the objects that are idle at now.
func (c *identityCache) idle(now time.Time) []*v1alpha1.OAuthIdentity {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var found []*v1alpha1.OAuthIdentity
	for _, o := range c.byName {
		if isIdle(o, now) {
			found = append(found, o)
		}
	}
	return found
}
