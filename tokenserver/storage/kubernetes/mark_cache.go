package kubernetes

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// markCache is a cache.ReflectorStore of the marks of the server. It counts them against their
// bounds.
type markCache struct {
	watchedCache
	places storage.MarkCounter // by the names of the objects

	mu     sync.RWMutex
	byName map[string]cachedMark
}

type cachedMark struct {
	expiresAt time.Time
	uid       types.UID
	version   string
}

func newMarkCache(s *Store) *markCache {
	return &markCache{watchedCache: watchedCache{newWatchProgress(), s}, byName: map[string]cachedMark{}}
}

// Add implements cache.ReflectorStore.
func (c *markCache) Add(obj any) error {
	o, err := objectAs[*internalv1alpha1.Mark](obj)
	if err != nil {
		return err
	}
	c.put(o)
	return nil
}

// Update implements cache.ReflectorStore.
func (c *markCache) Update(obj any) error { return c.Add(obj) }

// Delete implements cache.ReflectorStore.
func (c *markCache) Delete(obj any) error {
	o, err := objectAs[*internalv1alpha1.Mark](obj)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byName, o.Name)
	c.places.Remove(o.Name)
	return nil
}

// Replace implements cache.ReflectorStore.
func (c *markCache) Replace(list []any, resourceVersion string) error {
	byName, marks := make(map[string]cachedMark, len(list)), make(map[string]storage.Mark, len(list))
	for _, obj := range list {
		o, err := objectAs[*internalv1alpha1.Mark](obj)
		if err != nil {
			return err
		}
		byName[o.Name], marks[o.Name] = cachedMark{o.Spec.ExpiresAt.Time, o.UID, o.ResourceVersion}, fromMarkObject(o)
	}
	c.mu.Lock()
	c.byName = byName
	c.places.ReplaceAll(marks)
	c.mu.Unlock()
	c.setListed(resourceVersion)
	return nil
}

// put stores a mark that the watch has sent or this process has written, unless the cache has a
// later version of it.
func (c *markCache) put(o *internalv1alpha1.Mark) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.byName[o.Name]; !ok || parseVersion(old.version) < parseVersion(o.ResourceVersion) {
		c.byName[o.Name] = cachedMark{o.Spec.ExpiresAt.Time, o.UID, o.ResourceVersion}
		c.places.Add(o.Name, fromMarkObject(o))
	}
}

// has reports whether the cache has a mark that has not expired at a time.
func (c *markCache) has(name string, at time.Time) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	m, ok := c.byName[name]
	return ok && at.Before(m.expiresAt)
}

func (c *markCache) expiredObjects(now time.Time) []expiredObject {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var found []expiredObject
	for name, m := range c.byName {
		if !now.Before(m.expiresAt) {
			found = append(found, expiredObject{markResource, name, m.uid, m.version})
		}
	}
	return found
}
