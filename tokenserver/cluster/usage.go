package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	// incompleteUntil is the time before which uses may be missing in what was written; started is
	// false as long as it is not known what a former process of this name has left out.
	incompleteUntil time.Time
	started         bool
}

// allRecorded is the incompleteUntil of a process whose name no other had before.
var allRecorded = time.Unix(0, 0).UTC()

func newUsageRecorder(now func() time.Time) *usageRecorder {
	return &usageRecorder{now: now, uses: map[credential]lastUse{}, incompleteUntil: allRecorded}
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
	fitting := min(len(urgent), limit-min(len(others), limit/2))
	if fitting < len(urgent) {
		r.incompleteUntil = r.now()
	}
	listed := slices.Concat(urgent[:fitting], others, written)
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

// keepUsage begins the Usage, and writes it when it is due, until ctx ends.
func (c *Cluster) keepUsage(ctx context.Context) {
	for !c.usage.hasStarted() {
		if err := c.beginUsage(ctx); err != nil {
			if ctx.Err() == nil {
				c.config.Log.Warn("cannot begin the Usage", "error", err.Error())
			}
			if !clock.Sleep(ctx, usageCheckInterval) {
				return
			}
		}
	}
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

// beginUsage writes the Usage of a process that starts. If there is one of a former process that did
// not end in order, that one's last uses are missing, and the Usage says so: the manager must not
// end a credential because nothing is known of its use.
func (c *Cluster) beginUsage(ctx context.Context) error {
	var former internalv1alpha1.Usage
	patch := fmt.Sprintf(`{"spec":{"serverUID":%q}}`, c.config.ServerUID)
	err := c.client.Patch(types.MergePatchType).Namespace(c.config.Namespace).Resource(usageResource).Name(c.config.ReplicaName).
		Timeout(writeTimeout).Body([]byte(patch)).Do(ctx).Into(&former)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("reading the Usage of a former process: %w", err)
	case former.Spec.Ended && former.Spec.IncompleteUntil != nil:
		c.usage.setIncompleteUntil(former.Spec.IncompleteUntil.Time)
	default:
		c.usage.setIncompleteUntil(c.config.Now())
	}
	if err := c.putUsage(ctx, nil, false); err != nil {
		return fmt.Errorf("beginning the Usage: %w", err)
	}
	c.usage.mu.Lock()
	defer c.usage.mu.Unlock()
	c.usage.started = true
	return nil
}

func (r *usageRecorder) hasStarted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started
}

func (r *usageRecorder) setIncompleteUntil(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.incompleteUntil = at
}

// putUsage writes the Usage. Without uses, those that were written before stay.
func (c *Cluster) putUsage(ctx context.Context, uses []internalv1alpha1.CredentialUse, ended bool) error {
	c.usage.mu.Lock()
	incompleteUntil := metav1.NewTime(c.usage.incompleteUntil.UTC().Truncate(time.Second))
	c.usage.mu.Unlock()
	spec := internalv1alpha1.UsageSpec{ServerUID: types.UID(c.config.ServerUID), IncompleteUntil: &incompleteUntil, Ended: ended, Uses: uses}
	patch := map[string]any{"serverUID": spec.ServerUID, "incompleteUntil": incompleteUntil, "ended": ended}
	if len(uses) > 0 {
		patch["uses"] = uses
	}
	return c.patchOrCreate(ctx, usageResource, patch, &internalv1alpha1.Usage{ObjectMeta: c.objectMeta(c.server()), Spec: spec})
}

// writeUsage writes the uses that have not been written yet, if there are any. They replace those
// of the last write, which the manager has read.
func (c *Cluster) writeUsage(ctx context.Context) error {
	began, uses := c.config.Now(), c.usage.nextUses()
	if len(uses) == 0 {
		return nil
	}
	if err := c.putUsage(ctx, uses, false); err != nil {
		return fmt.Errorf("writing the Usage: %w", err)
	}
	c.usage.setWritten(uses, began)
	return nil
}

// endUsage writes the uses that have not been written yet, and that no others follow.
func (c *Cluster) endUsage(ctx context.Context) error {
	if !c.usage.hasStarted() {
		return c.writeUsage(ctx)
	}
	if err := c.putUsage(ctx, c.usage.nextUses(), true); err != nil {
		return fmt.Errorf("ending the Usage: %w", err)
	}
	return nil
}
