package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

const (
	// renewEvery is how often a Replica is written when nothing changes.
	renewEvery = 10 * time.Second
	// settle is how long a change waits for others to come along.
	settle = 20 * time.Millisecond
	// apart is the least time between two writes.
	apart = 100 * time.Millisecond
	// retryEvery is how soon a failed write is tried again.
	retryEvery = time.Second
	// writeTimeout of one write; less than the 30 seconds after which a Replica that does not change
	// counts as gone.
	writeTimeout = 8 * time.Second
)

// Bounds of the schema of a Replica, in characters and items.
const (
	maxProblem  = 4096
	maxReason   = 1024
	maxVersion  = 128
	maxRejected = 64
	maxKeys     = 256
)

// resource of Replicas, as in their URL.
const replicaResource = "replicas"

// ReplicaState is what the rest of the program says of itself.
type ReplicaState struct {
	Ready   bool
	Problem string
	// Keys that are held, by kid.
	Keys []string
}

// keepReplica writes the Replica until ctx ends: every renewEvery, and soon after something has changed.
func (c *Cluster) keepReplica(ctx context.Context) {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case <-c.wake:
			if !pause(ctx, settle) {
				return
			}
		}
		// What was announced until here is in what is written now.
		select {
		case <-c.wake:
		default:
		}
		wait := renewEvery
		if err := c.writeReplica(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			c.config.Log.Warn("cannot write the replica", "error", err.Error())
			wait = retryEvery
		}
		next.Reset(wait)
		if !pause(ctx, apart-settle) {
			return
		}
	}
}

// pause waits; false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// writeReplica writes what holds now.
func (c *Cluster) writeReplica(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	spec := c.replicaSpec()
	err := c.patch(ctx, replicaResource, map[string]any{"metadata": c.patchedMetadata(), "spec": patched(spec)})
	if apierrors.IsNotFound(err) {
		replica := &internalv1alpha1.Replica{ObjectMeta: c.metadata(), Spec: spec}
		err = c.client.Post().Namespace(c.config.Namespace).Resource(replicaResource).Body(replica).Do(ctx).Error()
	}
	if err != nil {
		return err
	}
	if c.watching.Load() {
		c.sawCluster()
	}
	return nil
}

// patched is the spec for a JSON merge patch (RFC 7396), which removes what is null and leaves what is
// missing: so it names every field.
func patched(s internalv1alpha1.ReplicaSpec) map[string]any {
	return map[string]any{
		"serverUID": s.ServerUID, "renewTime": s.RenewTime, "appliedResourceVersion": s.AppliedResourceVersion, "ready": s.Ready,
		"problem": s.Problem, "formats": s.Formats, "keys": s.Keys, "rejected": s.Rejected,
	}
}

// patch writes one of the two objects that have the name of this process.
func (c *Cluster) patch(ctx context.Context, resource string, patch map[string]any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode a patch of %s: %w", resource, err)
	}
	return c.client.Patch(types.MergePatchType).Namespace(c.config.Namespace).Resource(resource).Name(c.config.ReplicaName).
		Body(body).Do(ctx).Error()
}

// metadata of the two objects that have the name of this process.
func (c *Cluster) metadata() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: c.config.Namespace, Name: c.config.ReplicaName, Labels: c.labels(), OwnerReferences: c.owners(),
	}
}

func (c *Cluster) patchedMetadata() map[string]any {
	return map[string]any{"labels": c.labels(), "ownerReferences": c.owners()}
}

// Leave is an orderly end: it deletes the Replica, so that nothing waits for this process any more, and
// writes the uses of credentials that are not written yet.
func (c *Cluster) Leave(ctx context.Context) error {
	err := c.client.Delete().Namespace(c.config.Namespace).Resource(replicaResource).Name(c.config.ReplicaName).Do(ctx).Error()
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete the replica: %w", err)
	}
	return c.writeUsage(ctx)
}

func (c *Cluster) replicaSpec() internalv1alpha1.ReplicaSpec {
	// What is applied is read before what follows from it: a Replica may say less than holds, never more.
	applied, rejected := c.entries.state()
	state := c.config.State()
	return internalv1alpha1.ReplicaSpec{
		ServerUID:              types.UID(c.config.ServerUID),
		RenewTime:              metav1.NewMicroTime(c.config.Now().UTC().Truncate(time.Microsecond)),
		AppliedResourceVersion: truncate(applied, maxVersion),
		Ready:                  state.Ready,
		Problem:                truncate(state.Problem, maxProblem),
		Formats:                documents.Formats(),
		Keys:                   state.Keys[:min(len(state.Keys), maxKeys)],
		Rejected:               rejected,
	}
}

func (c *Cluster) labels() map[string]string {
	return map[string]string{internalv1alpha1.ServerUIDLabel: c.config.ServerUID}
}

// owners lets the garbage collector remove what the process left behind, once the server is gone.
func (c *Cluster) owners() []metav1.OwnerReference {
	return []metav1.OwnerReference{{
		APIVersion: "oauth-operator.dev/v1alpha1", Kind: "AuthorizationServer",
		Name: c.config.ServerName, UID: types.UID(c.config.ServerUID),
	}}
}

func byName(a, b internalv1alpha1.RejectedEntry) int { return cmp.Compare(a.Name, b.Name) }

// truncate cuts a text to at most limit bytes, and so characters, without cutting a character in two.
func truncate(text string, limit int) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}
