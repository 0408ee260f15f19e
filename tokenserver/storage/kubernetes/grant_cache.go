package kubernetes

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// cachedGrant is a grant in the cache. It is replaced, never changed.
type cachedGrant struct {
	grant    storage.Grant
	name     string
	username string
	uid      types.UID
	version  uint64
}

// grantCache is a cache.ReflectorStore of the grants of the server. It also remembers which ones
// were deleted early: before they expired, and while their code could still be redeemed.
type grantCache struct {
	watchedCache

	mu       sync.RWMutex
	byName   map[string]*cachedGrant
	byPair   map[pair]map[string]struct{} // names of grants
	notEnded int                          // number of grants that have not ended; some may have expired
	// deletedEarly has the names of grants that were deleted early, and until when to remember
	// that.
	deletedEarly map[string]time.Time
	// beingSwept has the names of grants that this process deletes because they have expired.
	beingSwept map[string]struct{}
}

func newGrantCache(s *Store) *grantCache {
	return &grantCache{
		watchedCache: watchedCache{newWatchProgress(), s},
		byName:       map[string]*cachedGrant{}, byPair: map[pair]map[string]struct{}{},
		deletedEarly: map[string]time.Time{}, beingSwept: map[string]struct{}{},
	}
}

// Add implements cache.ReflectorStore.
func (c *grantCache) Add(obj any) error {
	o, err := objectAs[*v1alpha1.OAuthGrant](obj)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.put(o)
	c.mu.Unlock()
	c.store.checkConsent(fromGrantObject(o))
	return nil
}

// Update implements cache.ReflectorStore.
func (c *grantCache) Update(obj any) error {
	o, err := objectAs[*v1alpha1.OAuthGrant](obj)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(o)
	return nil
}

// Delete implements cache.ReflectorStore.
func (c *grantCache) Delete(obj any) error {
	o, err := objectAs[*v1alpha1.OAuthGrant](obj)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handleDeletion(o.Name, fromGrantObject(o), o.CreationTimestamp.Time)
	return nil
}

// Replace implements cache.ReflectorStore. What the list lacks was deleted while the watch was
// broken.
func (c *grantCache) Replace(list []any, resourceVersion string) error {
	listed := make(map[string]*v1alpha1.OAuthGrant, len(list))
	for _, obj := range list {
		o, err := objectAs[*v1alpha1.OAuthGrant](obj)
		if err != nil {
			return err
		}
		listed[o.Name] = o
	}
	c.mu.Lock()
	for name, cached := range c.byName {
		if listed[name] == nil {
			c.handleDeletion(name, cached.grant, cached.grant.CreatedAt)
		}
	}
	for _, o := range listed {
		c.put(o)
	}
	c.mu.Unlock()
	c.setListed(resourceVersion)
	return nil
}

// replaceOwn puts a grant that this process has written into the cache before the watch sends it.
// It adds none: a grant that is not in the cache may have been deleted meanwhile.
func (c *grantCache) replaceOwn(o *v1alpha1.OAuthGrant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byName[o.Name]; ok {
		c.put(o)
	}
}

// put stores a grant, unless the cache has a later version of it. One that is being deleted is gone,
// although a finalizer still keeps it.
func (c *grantCache) put(o *v1alpha1.OAuthGrant) {
	if o.DeletionTimestamp != nil {
		c.handleDeletion(o.Name, fromGrantObject(o), o.CreationTimestamp.Time)
		return
	}
	cached := &cachedGrant{
		grant: fromGrantObject(o), name: o.Name, username: o.Spec.Username, uid: o.UID, version: parseVersion(o.ResourceVersion),
	}
	if old, ok := c.byName[cached.name]; ok {
		if old.version > cached.version {
			return
		}
		if old.uid != cached.uid { // it was deleted and created again while the watch was broken
			c.handleDeletion(old.name, old.grant, old.grant.CreatedAt)
		} else {
			c.remove(old)
		}
	}
	c.byName[cached.name] = cached
	p := pair{cached.grant.UserUID, cached.grant.ClientUID}
	if c.byPair[p] == nil {
		c.byPair[p] = map[string]struct{}{}
	}
	c.byPair[p][cached.name] = struct{}{}
	if !cached.grant.IsEnded() {
		c.notEnded++
	}
}

func (c *grantCache) remove(cached *cachedGrant) {
	delete(c.byName, cached.name)
	p := pair{cached.grant.UserUID, cached.grant.ClientUID}
	delete(c.byPair[p], cached.name)
	if len(c.byPair[p]) == 0 {
		delete(c.byPair, p)
	}
	if !cached.grant.IsEnded() {
		c.notEnded--
	}
}

// handleDeletion removes a grant that was deleted. It remembers the name if not the sweep deleted
// it, and its code could still be redeemed.
func (c *grantCache) handleDeletion(name string, g storage.Grant, created time.Time) {
	if cached, ok := c.byName[name]; ok {
		c.remove(cached)
	}
	if _, swept := c.beingSwept[name]; swept {
		delete(c.beingSwept, name)
		return
	}
	if g.CreatedAt.After(created) {
		created = g.CreatedAt
	}
	now, until := c.store.config.Now(), created.Add(deletionRetention)
	if !now.Before(g.ExpiresAt) || !now.Before(until) {
		return
	}
	c.deletedEarly[name] = until
	c.store.deletions.enqueueMark(name, until)
}

func (c *grantCache) get(name string) (storage.Grant, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	cached, ok := c.byName[name]
	if !ok {
		return storage.Grant{}, false
	}
	return cached.grant.Clone(), true
}

func (c *grantCache) username(name string) (string, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	cached, ok := c.byName[name]
	if !ok {
		return "", false
	}
	return cached.username, true
}

func (c *grantCache) wasDeletedEarly(name string, now time.Time) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	until, ok := c.deletedEarly[name]
	return ok && now.Before(until)
}

// grantsOf returns the grants of a pair that isIncluded reports, oldest first. It must not call the
// cache.
func (c *grantCache) grantsOf(p pair, isIncluded func(storage.Grant) bool) []storage.Grant {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var grants []storage.Grant
	for name := range c.byPair[p] {
		if g := c.byName[name].grant; isIncluded(g) {
			grants = append(grants, g)
		}
	}
	slices.SortFunc(grants, compareAge)
	return grants
}

// countOf returns how many grants of a pair there are, also of those that have ended.
func (c *grantCache) countOf(p pair) int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.byPair[p])
}

// countNotEnded is a cheap upper bound of countLive: it includes grants that have expired or are
// void.
func (c *grantCache) countNotEnded() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.notEnded
}

// countLive returns how many grants count against the bound of the server.
func (c *grantCache) countLive(now time.Time) int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	live := 0
	for _, cached := range c.byName {
		if c.store.Counts(cached.grant, now) {
			live++
		}
	}
	return live
}

// consentedGrants returns the grants that need a consent and have not ended.
func (c *grantCache) consentedGrants() []storage.Grant {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var found []storage.Grant
	for _, cached := range c.byName {
		if cached.grant.Consented && !cached.grant.IsEnded() {
			found = append(found, cached.grant)
		}
	}
	return found
}

// liveUsers returns the UIDs of the users of whom a grant lives, void or not.
func (c *grantCache) liveUsers(now time.Time) map[string]bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	users := map[string]bool{}
	for _, cached := range c.byName {
		if cached.grant.IsLive(now) {
			users[cached.grant.UserUID] = true
		}
	}
	return users
}

func (c *grantCache) expiredObjects(now time.Time) []expiredObject {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var found []expiredObject
	for _, cached := range c.byName {
		if !now.Before(cached.grant.ExpiresAt) {
			found = append(found, expiredObject{grantResource, cached.name, cached.uid, cached.grant.Version})
		}
	}
	return found
}

// beginSweep records that this process is about to delete a grant because it has expired.
func (c *grantCache) beginSweep(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beingSwept[name] = struct{}{}
}

// cancelSweep records that this process has not deleted the grant after all.
func (c *grantCache) cancelSweep(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.beingSwept, name)
}

func (c *grantCache) forgetOldDeletions(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.deletedEarly, func(_ string, until time.Time) bool { return !now.Before(until) })
}

// objectAs returns what a watch has sent as an object of the kind.
func objectAs[T any](obj any) (T, error) {
	o, ok := obj.(T)
	if !ok {
		return o, fmt.Errorf("the watch has sent a %T", obj)
	}
	return o, nil
}
