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
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

const (
	// reportEvery is the least time between two writes of the Usage.
	reportEvery = time.Hour
	// gatherFor is how long a first use waits for others, so that one write tells of them all.
	gatherFor = 30 * time.Second
	// checkEvery is how often it is looked whether there is something to write.
	checkEvery = 5 * time.Second
	// retryUsage is how soon a write that failed is tried again.
	retryUsage = time.Minute
	// maxRemembered bounds the memory of a cluster with more credentials than that.
	maxRemembered = 100_000
	// forgetAfter is how many hours a use is remembered after it was written.
	forgetAfter = 24
)

// resource of Usages, as in their URL.
const usageResource = "usages"

// credential of a client. What came by a wrong method is counted apart.
type credential struct{ client, id, refusedMethod string }

// lastUse of a credential. Hours are counted since 1970; 0 is none.
type lastUse struct {
	used, reported int64
	// urgent uses are written first: they decide when a credential ends, or that its client is told.
	urgent bool
}

// Usage remembers when each credential was last used, to the hour, and what of it was written. It is
// safe for concurrent use.
type Usage struct {
	now func() time.Time

	mu      sync.Mutex
	uses    map[credential]lastUse
	waiting time.Time // since when there is something to write; zero if there is nothing
	written time.Time
}

// NewUsage returns an empty record.
func NewUsage(now func() time.Time) *Usage {
	return &Usage{now: now, uses: map[credential]lastUse{}}
}

// Used notes that a credential was used now.
func (u *Usage) Used(use registry.Use) {
	now := u.now()
	hour := now.Unix() / 3600
	c := credential{use.ClientUID, use.CredentialID, use.RefusedMethod}
	u.mu.Lock()
	defer u.mu.Unlock()
	last, known := u.uses[c]
	if last.used > hour+1 { // the clock was set back
		last = lastUse{}
	}
	if known && last.used >= hour || !known && len(u.uses) >= maxRemembered {
		return
	}
	last.used, last.urgent = hour, use.Retiring || use.RefusedMethod != ""
	u.uses[c] = last
	if u.waiting.IsZero() {
		u.waiting = now
	}
}

// due reports whether it is time to write.
func (u *Usage) due() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now()
	return !u.waiting.IsZero() && now.Sub(u.waiting) >= gatherFor &&
		(u.written.IsZero() || now.Sub(u.written).Abs() >= reportEvery)
}

// unwritten returns what is to be written; nothing if there is no news. The news come first: the urgent
// ones, in half of the places at least, and those that have waited longest to be written. With fewer
// places than credentials, each has its turn, however many are urgent. What was written before follows,
// the latest first, for a manager that was away then.
func (u *Usage) unwritten() []internalv1alpha1.CredentialUse {
	u.mu.Lock()
	defer u.mu.Unlock()
	var urgent, others, told []credential
	for c, last := range u.uses {
		switch {
		case last.used <= last.reported:
			told = append(told, c)
		case last.urgent:
			urgent = append(urgent, c)
		default:
			others = append(others, c)
		}
	}
	if len(urgent)+len(others) == 0 {
		return nil
	}
	waited := func(a, b credential) int { return cmp.Compare(u.uses[a].reported, u.uses[b].reported) }
	slices.SortFunc(urgent, waited)
	slices.SortFunc(others, waited)
	slices.SortFunc(told, func(a, b credential) int { return cmp.Compare(u.uses[b].used, u.uses[a].used) })
	const places = internalv1alpha1.MaxUses
	listed := slices.Concat(urgent[:min(len(urgent), places-min(len(others), places/2))], others, told)
	uses := make([]internalv1alpha1.CredentialUse, 0, min(len(listed), places))
	for _, c := range listed[:min(len(listed), places)] {
		uses = append(uses, internalv1alpha1.CredentialUse{
			Owner: types.UID(c.client), ID: c.id, RefusedMethod: c.refusedMethod,
			Time: metav1.NewTime(time.Unix(u.uses[c].used*3600, 0).UTC()),
		})
	}
	return uses
}

// wrote notes that uses were written, and forgets those that are old.
func (u *Usage) wrote(uses []internalv1alpha1.CredentialUse) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now()
	u.written, u.waiting = now, time.Time{}
	for _, use := range uses {
		c := credential{string(use.Owner), use.ID, use.RefusedMethod}
		last := u.uses[c]
		last.reported = use.Time.Unix() / 3600
		u.uses[c] = last
	}
	for c, last := range u.uses {
		switch {
		case last.used > last.reported:
			u.waiting = now // there was no room for it, or it was used meanwhile
		case last.used < now.Unix()/3600-forgetAfter:
			delete(u.uses, c)
		}
	}
}

// keepUsage writes the Usage when it is due, until ctx ends.
func (c *Cluster) keepUsage(ctx context.Context) {
	wait := checkEvery
	for pause(ctx, wait) {
		wait = checkEvery
		if !c.usage.due() {
			continue
		}
		if err := c.writeUsage(ctx); err != nil && ctx.Err() == nil {
			c.config.Log.Warn("cannot write when credentials were used", "error", err.Error())
			wait = retryUsage
		}
	}
}

// writeUsage writes what was not written yet, if there is anything.
func (c *Cluster) writeUsage(ctx context.Context) error {
	uses := c.usage.unwritten()
	if len(uses) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	usage := &internalv1alpha1.Usage{
		ObjectMeta: c.metadata(),
		Spec:       internalv1alpha1.UsageSpec{ServerUID: types.UID(c.config.ServerUID), Uses: uses},
	}
	err := c.patch(ctx, usageResource, map[string]any{"metadata": c.patchedMetadata(), "spec": usage.Spec})
	if apierrors.IsNotFound(err) {
		err = c.client.Post().Namespace(c.config.Namespace).Resource(usageResource).Body(usage).Do(ctx).Error()
	}
	if err != nil {
		return fmt.Errorf("write the Usage: %w", err)
	}
	c.usage.wrote(uses)
	return nil
}
