package storage

import (
	"cmp"
	"container/heap"
	"sync"
	"time"
)

// MarkCounter keeps the bounds on marks for a store that has all marks in memory. Each mark has a
// key that the store chooses, and counts until it expires. The zero value is empty, with
// DefaultMarkBounds. It is safe for concurrent use.
type MarkCounter struct {
	mu     sync.Mutex
	bounds map[MarkKind]MarkBounds // replaces DefaultMarkBounds
	marks  map[string]countedMark  // by key
	counts map[countKey]int
	queue  expiryQueue
}

// countedMark is a mark that counts, from when it is reserved. Written is set once it is known to
// have been written.
type countedMark struct {
	mark    Mark
	written bool
}

// countKey is a set of marks that are counted together: those with the fields that are set here.
type countKey struct {
	kind                    MarkKind
	user, client, namespace string
}

// SetBounds replaces the bounds on a kind.
func (c *MarkCounter) SetBounds(kind MarkKind, bounds MarkBounds) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bounds == nil {
		c.bounds = map[MarkKind]MarkBounds{}
	}
	c.bounds[kind] = bounds
}

// Reserve counts a mark that is about to be written, so that concurrent writes are counted. It
// returns ErrFull at a bound, and false if the key counts already.
func (c *MarkCounter) Reserve(key string, m Mark, now time.Time) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeExpired(now)
	if _, ok := c.marks[key]; ok {
		return false, nil
	}
	bounds, ok := c.bounds[m.Kind]
	if !ok {
		bounds = DefaultMarkBounds(m.Kind)
	}
	for counted, bound := range countKeys(m, bounds) {
		if bound > 0 && c.counts[counted] >= bound {
			return false, ErrFull
		}
	}
	c.add(key, countedMark{mark: m})
	return true, nil
}

// Release removes a mark that was reserved and not written.
func (c *MarkCounter) Release(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.marks[key].written {
		c.remove(key)
	}
}

// Add counts a mark that exists, regardless of the bounds. It replaces one with the same key.
func (c *MarkCounter) Add(key string, m Mark) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(key, countedMark{m, true})
}

// Remove removes a mark that no longer exists.
func (c *MarkCounter) Remove(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key)
}

// ReplaceAll replaces all marks but those that are reserved and not known to have been written.
func (c *MarkCounter) ReplaceAll(marks map[string]Mark) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, held := range c.marks {
		if _, ok := marks[key]; !ok && held.written {
			c.remove(key)
		}
	}
	for key, m := range marks {
		c.add(key, countedMark{m, true})
	}
}

// CountOfUser returns how many marks of a kind a user has.
func (c *MarkCounter) CountOfUser(kind MarkKind, userUID string, now time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeExpired(now)
	return c.counts[countKey{kind: kind, user: userUID}]
}

// countKeys returns the sets that a mark belongs to, with their bounds; 0 is no bound.
func countKeys(m Mark, bounds MarkBounds) map[countKey]int {
	keys := map[countKey]int{{kind: m.Kind}: bounds.PerServer}
	if m.UserUID != "" {
		keys[countKey{kind: m.Kind, user: m.UserUID}] = 0
	}
	if m.ClientUID != "" {
		keys[countKey{kind: m.Kind, client: m.ClientUID}] = bounds.PerClient
	}
	if m.UserUID != "" && m.ClientUID != "" {
		keys[countKey{kind: m.Kind, user: m.UserUID, client: m.ClientUID}] = bounds.PerUserAndClient
	}
	if m.Namespace != "" {
		keys[countKey{kind: m.Kind, namespace: m.Namespace}] = bounds.PerNamespace
	}
	return keys
}

func (c *MarkCounter) add(key string, held countedMark) {
	if c.marks == nil {
		c.marks, c.counts = map[string]countedMark{}, map[countKey]int{}
	}
	before, queued := c.marks[key]
	queued = queued && before.mark.ExpiresAt.Equal(held.mark.ExpiresAt)
	c.remove(key)
	c.marks[key] = held
	for counted := range countKeys(held.mark, MarkBounds{}) {
		c.counts[counted]++
	}
	if !queued {
		heap.Push(&c.queue, expiry{key, held.mark.ExpiresAt})
	}
}

func (c *MarkCounter) remove(key string) {
	held, ok := c.marks[key]
	if !ok {
		return
	}
	delete(c.marks, key)
	for counted := range countKeys(held.mark, MarkBounds{}) {
		if c.counts[counted]--; c.counts[counted] == 0 {
			delete(c.counts, counted)
		}
	}
}

// removeExpired removes the marks that have expired. The queue may contain marks that were removed
// or replaced since, with the expiry that they had.
func (c *MarkCounter) removeExpired(now time.Time) {
	for len(c.queue) > 0 && !now.Before(c.queue[0].at) {
		due := heap.Pop(&c.queue).(expiry) //nolint:forcetypeassert // expiryQueue holds nothing else
		if held, ok := c.marks[due.key]; ok && held.mark.ExpiresAt.Equal(due.at) {
			c.remove(due.key)
		}
	}
}

// expiry of the mark with a key.
type expiry struct {
	key string
	at  time.Time
}

// expiryQueue is a heap.Interface with the earliest expiry first.
type expiryQueue []expiry

func (q expiryQueue) Len() int { return len(q) }
func (q expiryQueue) Less(i, j int) bool {
	return cmp.Or(q[i].at.Compare(q[j].at), cmp.Compare(q[i].key, q[j].key)) < 0
}
func (q expiryQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *expiryQueue) Push(x any) { *q = append(*q, x.(expiry)) } //nolint:forcetypeassert // as above

// Pop implements heap.Interface.
func (q *expiryQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
