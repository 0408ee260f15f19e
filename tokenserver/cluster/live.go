package cluster

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// LiveReplicas returns how many replicas served at a time at most, from a while ago until renewInterval
// ago. As long as it is not known, which is so without an identity provider of type LDAP, it returns a
// very large number: what is divided among the replicas is then the least for this one.
func (c *Cluster) LiveReplicas(within time.Duration) int {
	return c.liveReplicas.most(c.config.Now().Add(-within))
}

// maxWithin is how far LiveReplicas looks back.
const maxWithin = 24 * time.Hour

// replicaCounts say how many replicas served, as far as a later count was not as high: each is less
// than the one before.
type replicaCounts struct {
	mu     sync.Mutex
	counts []replicaCount
}

type replicaCount struct {
	n  int
	at time.Time // the last time that there were n
}

func (r *replicaCounts) add(n int, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts = slices.DeleteFunc(r.counts, func(c replicaCount) bool { return c.n <= n || now.Sub(c.at) > maxWithin })
	r.counts = append(r.counts, replicaCount{n, now})
}

func (r *replicaCounts) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts = nil
}

func (r *replicaCounts) most(since time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range r.counts {
		if isLast := i == len(r.counts)-1; isLast || !c.at.Before(since) {
			return c.n
		}
	}
	return math.MaxInt
}

// keepLiveReplicas counts the Replicas until ctx ends. The manager deletes those that are not renewed.
func (c *Cluster) keepLiveReplicas(ctx context.Context) {
	for {
		if err := c.countLiveReplicas(ctx); err != nil && ctx.Err() == nil {
			c.config.Log.Warn("cannot count the replicas", "error", err.Error())
		}
		if !clock.Sleep(ctx, renewInterval) {
			return
		}
	}
}

func (c *Cluster) countLiveReplicas(ctx context.Context) error {
	if !c.hasDirectories() {
		c.liveReplicas.forget()
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var list internalv1alpha1.ReplicaList
	err := c.client.Get().Namespace(c.config.Namespace).Resource(replicaResource).
		Param("labelSelector", internalv1alpha1.ServerUIDLabel+"="+c.config.ServerUID).Do(ctx).Into(&list)
	if err != nil {
		return fmt.Errorf("listing the Replicas: %w", err)
	}
	c.liveReplicas.add(max(1, len(list.Items)), c.config.Now())
	return nil
}

func (c *Cluster) hasDirectories() bool {
	for _, p := range c.config.Registry.IdentityProviders() {
		if p.Type == documents.ProviderLDAP {
			return true
		}
	}
	return false
}
