package kubernetes

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	servedv1alpha1 "github.com/oauth-operator/oauth-operator/api/served/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// held is a grant as the cache has it. It is not changed, only replaced.
type held struct {
	grant    storage.Grant
	name     string
	username string
	uid      types.UID
	version  uint64
}

// grantCache holds all grants of the server. Only a reflector and written change it.
type grantCache struct {
	progress *progress
	store    *Store

	mu      sync.RWMutex
	byName  map[string]*held
	byPair  map[pair]map[string]struct{}
	counted int                  // grants that have not ended; some may have expired
	died    map[string]time.Time // names of grants that were deleted early, and until when that matters
	swept   map[string]struct{}  // names of grants that this process is deleting because they have expired
}

// Add a grant that has appeared.
func (c *grantCache) Add(obj any) error {
	o, err := as[*v1alpha1.OAuthGrant](obj)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.put(o)
	c.mu.Unlock()
	c.store.checkConsent(grantOf(o))
	return nil
}

// Update a grant that has changed.
func (c *grantCache) Update(obj any) error {
	o, err := as[*v1alpha1.OAuthGrant](obj)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(o)
	return nil
}

// Delete a grant that is gone.
func (c *grantCache) Delete(obj any) error {
	o, err := as[*v1alpha1.OAuthGrant](obj)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone(o.Name, grantOf(o), o.CreationTimestamp.Time)
	return nil
}

// Replace all by a list. What is not in it was deleted while the watch was broken.
func (c *grantCache) Replace(list []any, resourceVersion string) error {
	listed := make(map[string]struct{}, len(list))
	objects := make([]*v1alpha1.OAuthGrant, 0, len(list))
	for _, obj := range list {
		o, err := as[*v1alpha1.OAuthGrant](obj)
		if err != nil {
			return err
		}
		listed[o.Name] = struct{}{}
		objects = append(objects, o)
	}
	c.mu.Lock()
	for name, h := range c.byName {
		if _, ok := listed[name]; !ok {
			c.gone(name, h.grant, h.grant.CreatedAt)
		}
	}
	for _, o := range objects {
		c.put(o)
	}
	c.mu.Unlock()
	c.progress.replaced(resourceVersion)
	c.store.listed()
	return nil
}

// Resync does nothing: nobody else changes the cache.
func (c *grantCache) Resync() error { return nil }

// UpdateResourceVersion is called when everything up to the version has been brought.
func (c *grantCache) UpdateResourceVersion(resourceVersion string) {
	c.progress.reached(resourceVersion)
}

// written takes over what this process has just written, before the watch brings it. Only what is there is replaced: it may have been deleted
// meanwhile.
func (c *grantCache) written(o *v1alpha1.OAuthGrant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byName[o.Name]; ok {
		c.put(o)
	}
}

// put a version of a grant, unless a later one is there.
func (c *grantCache) put(o *v1alpha1.OAuthGrant) {
	h := &held{grant: grantOf(o), name: o.Name, username: o.Spec.Username, uid: o.UID, version: versionOf(o.ResourceVersion)}
	if old, ok := c.byName[h.name]; ok {
		if old.version > h.version {
			return
		}
		if old.uid != h.uid { // it was deleted and made again, and no watch has brought that
			c.gone(old.name, old.grant, old.grant.CreatedAt)
		} else {
			c.remove(old)
		}
	}
	if c.byName == nil {
		c.byName, c.byPair = map[string]*held{}, map[pair]map[string]struct{}{}
		c.died, c.swept = map[string]time.Time{}, map[string]struct{}{}
	}
	c.byName[h.name] = h
	p := pair{h.grant.UserUID, h.grant.ClientUID}
	if c.byPair[p] == nil {
		c.byPair[p] = map[string]struct{}{}
	}
	c.byPair[p][h.name] = struct{}{}
	if !h.grant.IsEnded() {
		c.counted++
	}
}

func (c *grantCache) remove(h *held) {
	delete(c.byName, h.name)
	p := pair{h.grant.UserUID, h.grant.ClientUID}
	delete(c.byPair[p], h.name)
	if len(c.byPair[p]) == 0 {
		delete(c.byPair, p)
	}
	if !h.grant.IsEnded() {
		c.counted--
	}
}

// gone is what follows from a deletion. If the grant had not expired, somebody deleted it by hand, and its code might still be redeemed.
func (c *grantCache) gone(name string, g storage.Grant, created time.Time) {
	if h, ok := c.byName[name]; ok {
		c.remove(h)
	}
	if _, ours := c.swept[name]; ours {
		delete(c.swept, name)
		return
	}
	if g.CreatedAt.After(created) {
		created = g.CreatedAt
	}
	now, until := c.store.config.Now(), created.Add(codeMemory)
	if !now.Before(g.ExpiresAt) || !now.Before(until) {
		return
	}
	if c.died == nil {
		c.died = map[string]time.Time{}
	}
	c.died[name] = until
	c.store.chores.bury(name, until)
}

func (c *grantCache) get(name string) (storage.Grant, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	h, ok := c.byName[name]
	if !ok {
		return storage.Grant{}, false
	}
	return h.grant.Clone(), true
}

func (c *grantCache) username(name string) (string, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	h, ok := c.byName[name]
	if !ok {
		return "", false
	}
	return h.username, true
}

// deleted says whether a grant of this name was deleted early, and that still matters.
func (c *grantCache) deleted(name string, now time.Time) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	until, ok := c.died[name]
	return ok && now.Before(until)
}

// liveOf are the live grants of a pair but one, oldest first.
func (c *grantCache) liveOf(p pair, now time.Time, but string) []storage.Grant {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var live []storage.Grant
	for name := range c.byPair[p] {
		if g := c.byName[name].grant; g.ID != but && g.IsLive(now) {
			live = append(live, g)
		}
	}
	slices.SortFunc(live, byAge)
	return live
}

// notEnded counts grants that have not ended; some may have expired.
func (c *grantCache) notEnded() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.counted
}

// live counts the live grants.
func (c *grantCache) live(now time.Time) int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	live := 0
	for _, h := range c.byName {
		if h.grant.IsLive(now) {
			live++
		}
	}
	return live
}

// consented are the grants that have not ended and rest on a consent.
func (c *grantCache) consented() []storage.Grant {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var found []storage.Grant
	for _, h := range c.byName {
		if h.grant.Consented && !h.grant.IsEnded() {
			found = append(found, h.grant)
		}
	}
	return found
}

// expired are the objects whose grants have expired.
func (c *grantCache) expired(now time.Time) []expired {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var found []expired
	for _, h := range c.byName {
		if !now.Before(h.grant.ExpiresAt) {
			found = append(found, expired{grantResource, h.name, h.uid, h.grant.Version})
		}
	}
	return found
}

// sweeping notes that this process deletes a grant because it has expired; kept says that it does not after all.
func (c *grantCache) sweeping(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.swept == nil {
		c.swept = map[string]struct{}{}
	}
	c.swept[name] = struct{}{}
}

func (c *grantCache) kept(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.swept, name)
}

func (c *grantCache) forget(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, until := range c.died {
		if !now.Before(until) {
			delete(c.died, name)
		}
	}
}

// consentCache holds the UIDs of the consents that there are.
type consentCache struct {
	progress *progress
	store    *Store

	mu   sync.RWMutex
	uids map[pair]types.UID
}

// Add a consent that has appeared.
func (c *consentCache) Add(obj any) error {
	o, err := as[*v1alpha1.OAuthConsent](obj)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.uids == nil {
		c.uids = map[pair]types.UID{}
	}
	c.uids[pairOf(o)] = o.UID
	return nil
}

// Update a consent that has changed.
func (c *consentCache) Update(obj any) error { return c.Add(obj) }

// Delete a consent that is gone.
func (c *consentCache) Delete(obj any) error {
	o, err := as[*v1alpha1.OAuthConsent](obj)
	if err != nil {
		return err
	}
	c.mu.Lock()
	if c.uids[pairOf(o)] == o.UID {
		delete(c.uids, pairOf(o))
	}
	c.mu.Unlock()
	c.store.withdrawn(pairOf(o), o.UID)
	return nil
}

// Replace all by a list. What is not in it was deleted while the watch was broken.
func (c *consentCache) Replace(list []any, resourceVersion string) error {
	uids := make(map[pair]types.UID, len(list))
	for _, obj := range list {
		o, err := as[*v1alpha1.OAuthConsent](obj)
		if err != nil {
			return err
		}
		uids[pairOf(o)] = o.UID
	}
	c.mu.Lock()
	before := c.uids
	c.uids = uids
	c.mu.Unlock()
	for p, uid := range before {
		if uids[p] != uid {
			c.store.withdrawn(p, uid)
		}
	}
	c.progress.replaced(resourceVersion)
	c.store.listed()
	return nil
}

// Resync does nothing: nobody else changes the cache.
func (c *consentCache) Resync() error { return nil }

// UpdateResourceVersion is called when everything up to the version has been brought.
func (c *consentCache) UpdateResourceVersion(resourceVersion string) {
	c.progress.reached(resourceVersion)
}

// has reports whether the consent of a pair is known to be the one with the UID.
func (c *consentCache) has(p pair, uid types.UID) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return uid != "" && c.uids[p] == uid
}

func pairOf(o *v1alpha1.OAuthConsent) pair { return pair{o.Spec.UserUID, o.Spec.ClientUID} }

// markCache holds until when each mark holds, and counts the marks against their bounds.
type markCache struct {
	progress *progress
	store    *Store
	places   storage.MarkCounter // by the names of the objects

	mu     sync.RWMutex
	byName map[string]heldMark
}

type heldMark struct {
	until   time.Time
	uid     types.UID
	version string
}

// Add a mark that has appeared.
func (c *markCache) Add(obj any) error {
	o, err := as[*servedv1alpha1.Mark](obj)
	if err != nil {
		return err
	}
	c.written(o)
	return nil
}

// Update a mark that has changed.
func (c *markCache) Update(obj any) error { return c.Add(obj) }

// Delete a mark that is gone.
func (c *markCache) Delete(obj any) error {
	o, err := as[*servedv1alpha1.Mark](obj)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byName, o.Name)
	c.places.Remove(o.Name)
	return nil
}

// Replace all by a list.
func (c *markCache) Replace(list []any, resourceVersion string) error {
	byName, marks := make(map[string]heldMark, len(list)), make(map[string]storage.Mark, len(list))
	for _, obj := range list {
		o, err := as[*servedv1alpha1.Mark](obj)
		if err != nil {
			return err
		}
		byName[o.Name], marks[o.Name] = heldMark{o.Spec.ExpiresAt.Time, o.UID, o.ResourceVersion}, markOf(o)
	}
	c.mu.Lock()
	c.byName = byName
	c.places.ReplaceAll(marks)
	c.mu.Unlock()
	c.progress.replaced(resourceVersion)
	c.store.listed()
	return nil
}

// Resync does nothing: nobody else changes the cache.
func (c *markCache) Resync() error { return nil }

// UpdateResourceVersion is called when everything up to the version has been brought.
func (c *markCache) UpdateResourceVersion(resourceVersion string) {
	c.progress.reached(resourceVersion)
}

// written takes over a mark, unless a later version is there.
func (c *markCache) written(o *servedv1alpha1.Mark) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byName == nil {
		c.byName = map[string]heldMark{}
	}
	if old, ok := c.byName[o.Name]; !ok || versionOf(old.version) < versionOf(o.ResourceVersion) {
		c.byName[o.Name] = heldMark{o.Spec.ExpiresAt.Time, o.UID, o.ResourceVersion}
		c.places.Add(o.Name, markOf(o))
	}
}

// has says whether a mark is known to hold at a time.
func (c *markCache) has(name string, at time.Time) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	m, ok := c.byName[name]
	return ok && at.Before(m.until)
}

// expired are the objects whose marks have expired.
func (c *markCache) expired(now time.Time) []expired {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var found []expired
	for name, m := range c.byName {
		if !now.Before(m.until) {
			found = append(found, expired{markResource, name, m.uid, m.version})
		}
	}
	return found
}

// as is the object that a watch brought.
func as[T any](obj any) (T, error) {
	o, ok := obj.(T)
	if !ok {
		return o, fmt.Errorf("the watch brought a %T", obj)
	}
	return o, nil
}
