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

	servedv1alpha1 "github.com/oauth-operator/oauth-operator/api/served/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/registration"
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
	// writeTimeout of one write; less than the 30 seconds after which an unrenewed Replica counts as gone.
	writeTimeout = 8 * time.Second
	// reportEvery is how often uses of credentials are written, if there are new ones.
	reportEvery = time.Minute
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

// writeReplica writes what holds now. It patches, so that the uses of credentials, which may be a megabyte, travel only when they are new.
func (c *Cluster) writeReplica(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	now := c.config.Now()
	report := now.Sub(c.reported) >= reportEvery
	var used []use
	if report {
		used, report = c.usage.report()
	}
	err := c.patchReplica(ctx, c.replicaPatch(now, used, report))
	if apierrors.IsNotFound(err) {
		// A new object has no uses yet; all are reported with it.
		c.usage.again()
		used, report = c.usage.report()
		err = c.createReplica(ctx, now, used)
	}
	if err != nil {
		if report {
			c.usage.again()
		}
		return err
	}
	if report {
		c.reported = now
	}
	if c.watching.Load() {
		c.sawCluster()
	}
	return nil
}

// replicaPatch is a JSON merge patch (RFC 7386): what is null is removed.
func (c *Cluster) replicaPatch(now time.Time, used []use, report bool) map[string]any {
	s := c.replicaSpec(now)
	spec := map[string]any{
		"serverUID": s.ServerUID, "renewTime": s.RenewTime, "appliedResourceVersion": s.AppliedResourceVersion, "ready": s.Ready,
		"problem": s.Problem, "formats": s.Formats, "keys": s.Keys, "rejected": s.Rejected,
	}
	if report {
		spec["used"] = credentialUses(used)
	}
	return map[string]any{"metadata": map[string]any{"labels": c.labels(), "ownerReferences": c.owners()}, "spec": spec}
}

func (c *Cluster) patchReplica(ctx context.Context, patch map[string]any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode the replica: %w", err)
	}
	return c.client.Patch(types.MergePatchType).Namespace(c.config.Namespace).Resource(replicaResource).Name(c.config.ReplicaName).
		Body(body).Do(ctx).Error()
}

func (c *Cluster) createReplica(ctx context.Context, now time.Time, used []use) error {
	replica := &servedv1alpha1.Replica{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.config.Namespace, Name: c.config.ReplicaName, Labels: c.labels(), OwnerReferences: c.owners(),
		},
		Spec: c.replicaSpec(now),
	}
	replica.Spec.Used = credentialUses(used)
	return c.client.Post().Namespace(c.config.Namespace).Resource(replicaResource).Body(replica).Do(ctx).Error()
}

// Leave deletes the Replica: an orderly end, after which nobody waits for this process.
func (c *Cluster) Leave(ctx context.Context) error {
	err := c.client.Delete().Namespace(c.config.Namespace).Resource(replicaResource).Name(c.config.ReplicaName).Do(ctx).Error()
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete the replica: %w", err)
	}
	return nil
}

func (c *Cluster) replicaSpec(now time.Time) servedv1alpha1.ReplicaSpec {
	// What is applied is read before what follows from it: a Replica may say less than holds, never more.
	applied, rejected := c.entries.state()
	state := c.config.State()
	return servedv1alpha1.ReplicaSpec{
		ServerUID:              types.UID(c.config.ServerUID),
		RenewTime:              metav1.NewMicroTime(now.UTC().Truncate(time.Microsecond)),
		AppliedResourceVersion: truncate(applied, maxVersion),
		Ready:                  state.Ready,
		Problem:                truncate(state.Problem, maxProblem),
		Formats:                registration.Formats(),
		Keys:                   state.Keys[:min(len(state.Keys), maxKeys)],
		Rejected:               rejected,
	}
}

func (c *Cluster) labels() map[string]string {
	return map[string]string{servedv1alpha1.ServerUIDLabel: c.config.ServerUID}
}

// owners lets the garbage collector remove a Replica whose process did not, once the server is gone.
func (c *Cluster) owners() []metav1.OwnerReference {
	return []metav1.OwnerReference{{
		APIVersion: "oauth-operator.dev/v1alpha1", Kind: "AuthorizationServer",
		Name: c.config.ServerName, UID: types.UID(c.config.ServerUID),
	}}
}

func credentialUses(used []use) []servedv1alpha1.CredentialUse {
	uses := make([]servedv1alpha1.CredentialUse, 0, len(used))
	for _, u := range used {
		uses = append(uses, servedv1alpha1.CredentialUse{
			Owner: types.UID(u.client), ID: u.id, Time: metav1.NewTime(time.Unix(u.minute*60, 0).UTC()),
		})
	}
	return uses
}

func byName(a, b servedv1alpha1.RejectedEntry) int { return cmp.Compare(a.Name, b.Name) }

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
