package cluster

import (
	"slices"
	"sync"
	"time"
)

const (
	// maxReported is how many credentials a Replica names.
	maxReported = 10_000
	// maxRemembered is how many are kept between two reports. Credentials are registered, so it is their number that bounds the map; this
	// bound is for clusters beyond all measure.
	maxRemembered = 100_000
)

// credential of a client.
type credential struct{ client, id string }

// use of a credential, to the minute.
type use struct {
	credential
	minute int64 // since 1970
}

// Usage remembers when each credential was last accepted, to the minute. It is safe for use by many.
type Usage struct {
	now func() time.Time

	mu      sync.Mutex
	minutes map[credential]int64
	changed bool
}

// NewUsage returns an empty record.
func NewUsage(now func() time.Time) *Usage {
	return &Usage{now: now, minutes: map[credential]int64{}}
}

// Used notes that a credential was accepted now.
func (u *Usage) Used(clientUID, credentialID string) {
	minute := u.now().Unix() / 60
	c := credential{clientUID, credentialID}
	u.mu.Lock()
	defer u.mu.Unlock()
	known, ok := u.minutes[c]
	if ok && known >= minute || !ok && len(u.minutes) >= maxRemembered {
		return
	}
	u.minutes[c] = minute
	u.changed = true
}

// report returns the uses since the program started, the latest first, and at most maxReported of them; what does not fit is forgotten. False
// if nothing has changed since the last report.
func (u *Usage) report() ([]use, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.changed {
		return nil, false
	}
	u.changed = false
	uses := make([]use, 0, len(u.minutes))
	for c, minute := range u.minutes {
		uses = append(uses, use{c, minute})
	}
	slices.SortFunc(uses, func(a, b use) int { return int(b.minute - a.minute) })
	for _, forgotten := range uses[min(maxReported, len(uses)):] {
		delete(u.minutes, forgotten.credential)
	}
	return uses[:min(maxReported, len(uses))], true
}

// again makes the next report come even if nothing changes, since this one was not delivered.
func (u *Usage) again() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.changed = true
}
