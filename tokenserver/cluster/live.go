package cluster

import (
	"context"
	"fmt"
	"math"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// LiveReplicas returns how many replicas serve, as of renewInterval ago. As long as it is not known,
// which is so without an identity provider of type LDAP, it returns a very large number: what is
// divided among the replicas is then the least for this one.
func (c *Cluster) LiveReplicas() int {
	if n := c.liveReplicas.Load(); n > 0 {
		return int(n)
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
		c.liveReplicas.Store(0)
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
	c.liveReplicas.Store(int64(max(1, len(list.Items))))
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
