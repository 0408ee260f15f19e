package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

const (
	// usageInterval is the least time between two writes of the Usage.
	usageInterval = time.Hour
	// firstUseDelay is how long a first use waits for others, so that one write reports them all.
	firstUseDelay = 30 * time.Second
	// usageCheckInterval is how often it is checked whether the Usage is due.
	usageCheckInterval = 5 * time.Second
	// usageRetryDelay is the delay before a failed write is tried again.
	usageRetryDelay = time.Minute
	// maxCredentials is how many credentials are recorded at most.
	maxCredentials = 100_000
	// useRetentionHours is how long a use that was written stays recorded.
	useRetentionHours = 24
)

// credential identifies a credential of a client. Uses by a refused authentication method are
// recorded apart.
type credential struct{ clientUID, id, refusedMethod string }

// lastUse is when a credential was last used, and which use was written last, in hours since 1970;
// 0 is never.
type lastUse struct {
	used, written int64
	// isUrgent uses are written first: they decide when a credential ends, or that the manager
	// warns about the client.
	isUrgent bool
}

// usageRecorder records when each credential was last used, to the hour, and which of these uses
// were written. It is safe for concurrent use.
type usageRecorder struct {
	now func() time.Time

	mu           sync.Mutex
	uses         map[credential]lastUse
	pendingSince time.Time // since when there is something to write; zero if there is nothing
	lastWritten  time.Time
}

func newUsageRecorder(now func() time.Time) *usageRecorder {
	return &usageRecorder{now: now, uses: map[credential]lastUse{}}
}

// record records that a credential was used now.
func (r *usageRecorder) record(use registry.CredentialUse) {
	now := r.now()
	hour := now.Unix() / 3600
	c := credential{use.ClientUID, use.CredentialID, use.RefusedMethod}
	r.mu.Lock()
	defer r.mu.Unlock()
	last, known := r.uses[c]
	if last.used > hour+1 { // the clock was set back
		last = lastUse{}
	}
	if known && last.used >= hour || !known && len(r.uses) >= maxCredentials {
		return
	}
	last.used, last.isUrgent = hour, use.Retiring || use.RefusedMethod != ""
	r.uses[c] = last
	if r.pendingSince.IsZero() {
		r.pendingSince = now
	}
}

// isDue reports whether it is time to write the Usage.
func (r *usageRecorder) isDue() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	return !r.pendingSince.IsZero() && now.Sub(r.pendingSince) >= firstUseDelay &&
		(r.lastWritten.IsZero() || now.Sub(r.lastWritten).Abs() >= usageInterval)
}

// nextUses returns the uses to write, nil if all have been written. Those that have not been
// written come first: the urgent ones, which leave half of the list to the others if these need it,
// and among each the credentials that were written longest ago, so that all are written eventually.
// Then, if there is room, come uses that were written before, the latest first, for a manager that
// was not running then.
func (r *usageRecorder) nextUses() []internalv1alpha1.CredentialUse {
	r.mu.Lock()
	defer r.mu.Unlock()
	var urgent, others, written []credential
	for c, last := range r.uses {
		switch {
		case last.used <= last.written:
			written = append(written, c)
		case last.isUrgent:
			urgent = append(urgent, c)
		default:
			others = append(others, c)
		}
	}
	if len(urgent)+len(others) == 0 {
		return nil
	}
	compareWritten := func(a, b credential) int { return cmp.Compare(r.uses[a].written, r.uses[b].written) }
	slices.SortFunc(urgent, compareWritten)
	slices.SortFunc(others, compareWritten)
	slices.SortFunc(written, func(a, b credential) int { return cmp.Compare(r.uses[b].used, r.uses[a].used) })
	const limit = internalv1alpha1.MaxUses
	listed := slices.Concat(urgent[:min(len(urgent), limit-min(len(others), limit/2))], others, written)
	uses := make([]internalv1alpha1.CredentialUse, 0, min(len(listed), limit))
	for _, c := range listed[:min(len(listed), limit)] {
		uses = append(uses, internalv1alpha1.CredentialUse{
			Owner: types.UID(c.clientUID), ID: c.id, RefusedMethod: c.refusedMethod,
			Time: metav1.NewTime(time.Unix(r.uses[c].used*3600, 0).UTC()),
		})
	}
	return uses
}

// setWritten records that uses were written by a write that began at now, and forgets old ones.
func (r *usageRecorder) setWritten(uses []internalv1alpha1.CredentialUse, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastWritten, r.pendingSince = now, time.Time{}
	for _, use := range uses {
		c := credential{string(use.Owner), use.ID, use.RefusedMethod}
		last := r.uses[c]
		last.written = use.Time.Unix() / 3600
		r.uses[c] = last
	}
	for c, last := range r.uses {
		switch {
		case last.used > last.written:
			r.pendingSince = now // it did not fit in, or was used during the write
		case last.used < now.Unix()/3600-useRetentionHours:
			delete(r.uses, c)
		}
	}
}

// keepUsage writes the Usage when it is due, until ctx ends.
func (c *Cluster) keepUsage(ctx context.Context) {
	delay := usageCheckInterval
	for clock.Sleep(ctx, delay) {
		delay = usageCheckInterval
		if !c.usage.isDue() {
			continue
		}
		if err := c.writeUsage(ctx); err != nil && ctx.Err() == nil {
			c.config.Log.Warn("cannot write the Usage", "error", err.Error())
			delay = usageRetryDelay
		}
	}
}

// writeUsage writes the uses that have not been written yet, if there are any. They replace those
// of the last write, which the manager has read.
func (c *Cluster) writeUsage(ctx context.Context) error {
	began, uses := c.config.Now(), c.usage.nextUses()
	if len(uses) == 0 {
		return nil
	}
	usage := &internalv1alpha1.Usage{
		ObjectMeta: c.objectMeta(c.server()),
		Spec:       internalv1alpha1.UsageSpec{ServerUID: types.UID(c.config.ServerUID), Uses: uses},
	}
	if err := c.patchOrCreate(ctx, usageResource, usage.Spec, usage); err != nil {
		return fmt.Errorf("writing the Usage: %w", err)
	}
	c.usage.setWritten(uses, began)
	return nil
}
