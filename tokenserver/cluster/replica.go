package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/version"
)

const (
	// renewInterval is how often a Replica is written if nothing changes.
	renewInterval = 10 * time.Second
	// debounceDelay is how long a change waits for others, so that one write reports them all.
	debounceDelay = 20 * time.Millisecond
	// minWriteInterval is the least time between two writes.
	minWriteInterval = 100 * time.Millisecond
	// writeRetryDelay is the delay before a failed write is tried again.
	writeRetryDelay = time.Second
	// writeTimeout bounds one write. It is less than the 30 seconds after which a Replica that does
	// not change counts as dead.
	writeTimeout = 8 * time.Second
)

// Bounds of the schema of a Replica, in characters and items.
const (
	maxProblem   = 4096
	maxReason    = 1024
	maxVersion   = 128
	maxRejected  = 64
	maxKeys      = 256
	maxUpstreams = 256
	maxProblems  = 64
)

// Resources, as in URLs.
const (
	replicaResource = "replicas"
	usageResource   = "usages"
)

// ReplicaState is what the rest of the process reports in the Replica.
type ReplicaState struct {
	// Ready is true if the process can serve. Problem is what keeps it from that, or "".
	Ready   bool
	Problem string
	// Keys are the ids of the keys that the process holds.
	Keys []string
	// Upstreams are the names of the files with credentials for identity providers that the process
	// holds.
	Upstreams []string
	// KeySetProblems are the clients whose key sets could not be fetched.
	KeySetProblems []KeySetProblem
	// IdentityProviderProblems are the identity providers at which users could not sign in.
	IdentityProviderProblems []IdentityProviderProblem
}

// IdentityProviderProblem is why users cannot sign in at an identity provider: a reason of package
// fetch, or ClientRefused; and the address that the rules of fetching do not allow, if that is why.
type IdentityProviderProblem struct{ ProviderUID, Reason, Address string }

// KeySetProblem is why the key set of a client could not be fetched: a reason of package fetch.
type KeySetProblem struct{ ClientUID, Reason string }

// keepReplica writes the Replica until ctx ends: every renewInterval, and soon after
// WriteReplicaSoon.
func (c *Cluster) keepReplica(ctx context.Context) {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case <-c.replicaChanged:
			if !clock.Sleep(ctx, debounceDelay) {
				return
			}
		}
		// The write below reports what has changed until here.
		select {
		case <-c.replicaChanged:
		default:
		}
		delay := renewInterval
		if err := c.writeReplica(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			c.config.Log.Warn("cannot write the Replica", "error", err.Error())
			delay = writeRetryDelay
		}
		next.Reset(delay)
		if !clock.Sleep(ctx, minWriteInterval-debounceDelay) {
			return
		}
	}
}

func (c *Cluster) writeReplica(ctx context.Context) error {
	spec := c.replicaSpec()
	// The patch names every field: a JSON merge patch (RFC 7396) leaves a missing one as it is.
	patch := map[string]any{
		"serverUID": spec.ServerUID, "renewTime": spec.RenewTime, "appliedResourceVersion": spec.AppliedResourceVersion,
		"ready": spec.Ready, "problem": spec.Problem, "version": spec.Version, "formats": spec.Formats, "keys": spec.Keys, "upstreams": spec.Upstreams, "rejected": spec.Rejected,
		"keySetProblems": spec.KeySetProblems, "identityProviderProblems": spec.IdentityProviderProblems,
	}
	if err := c.patchOrCreate(ctx, replicaResource, patch, &internalv1alpha1.Replica{ObjectMeta: c.objectMeta(c.replicaOwner()), Spec: spec}); err != nil {
		return err
	}
	if c.isWatching.Load() {
		c.confirmServed()
	}
	return nil
}

// patchOrCreate applies a JSON merge patch to the spec of one of the two objects that have the name
// of this process, or creates the object.
func (c *Cluster) patchOrCreate(ctx context.Context, resource string, spec any, object runtime.Object) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	accessor, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	metadata := map[string]any{"labels": accessor.GetLabels(), "ownerReferences": accessor.GetOwnerReferences()}
	patch, err := json.Marshal(map[string]any{"metadata": metadata, "spec": spec})
	if err != nil {
		return fmt.Errorf("encoding a patch of %s: %w", resource, err)
	}
	err = c.client.Patch(types.MergePatchType).Namespace(c.config.Namespace).Resource(resource).Name(c.config.ReplicaName).
		Body(patch).Do(ctx).Error()
	if apierrors.IsNotFound(err) {
		err = c.client.Post().Namespace(c.config.Namespace).Resource(resource).Body(object).Do(ctx).Error()
	}
	return err
}

// Shutdown deletes the Replica, so that the manager does not wait for this process any more, and
// writes the uses of credentials that have not been written yet. Run must have returned.
func (c *Cluster) Shutdown(ctx context.Context) error {
	err := c.client.Delete().Namespace(c.config.Namespace).Resource(replicaResource).Name(c.config.ReplicaName).Do(ctx).Error()
	if apierrors.IsNotFound(err) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("deleting the Replica: %w", err)
	}
	return errors.Join(err, c.endUsage(ctx))
}

func (c *Cluster) replicaSpec() internalv1alpha1.ReplicaSpec {
	// The version is read before the state that follows from it: a Replica may report less than is
	// served, never more.
	applied, rejected := c.entries.state()
	state := c.config.State()
	return internalv1alpha1.ReplicaSpec{
		ServerUID:              types.UID(c.config.ServerUID),
		RenewTime:              metav1.NewMicroTime(c.config.Now().UTC().Truncate(time.Microsecond)),
		AppliedResourceVersion: truncate(applied, maxVersion),
		Ready:                  state.Ready,
		Problem:                truncate(state.Problem, maxProblem),
		Version:                truncate(version.Version(), maxVersion),
		Formats:                documents.Formats(),
		Keys:                   state.Keys[:min(len(state.Keys), maxKeys)],
		Upstreams:              state.Upstreams[:min(len(state.Upstreams), maxUpstreams)],
		Rejected:               rejected,
		KeySetProblems:         toKeySetProblems(state.KeySetProblems),

		IdentityProviderProblems: toIdentityProviderProblems(state.IdentityProviderProblems),
	}
}

func toKeySetProblems(problems []KeySetProblem) []internalv1alpha1.KeySetProblem {
	var list []internalv1alpha1.KeySetProblem
	for _, p := range problems[:min(len(problems), maxProblems)] {
		list = append(list, internalv1alpha1.KeySetProblem{ClientUID: types.UID(p.ClientUID), Reason: p.Reason})
	}
	return list
}

func toIdentityProviderProblems(problems []IdentityProviderProblem) []internalv1alpha1.IdentityProviderProblem {
	var list []internalv1alpha1.IdentityProviderProblem
	for _, p := range problems[:min(len(problems), maxProblems)] {
		list = append(list, internalv1alpha1.IdentityProviderProblem{ProviderUID: types.UID(p.ProviderUID), Reason: p.Reason, Address: p.Address})
	}
	return list
}

// objectMeta returns the metadata of the Replica and the Usage of this process.
func (c *Cluster) objectMeta(owner metav1.OwnerReference) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: c.config.Namespace, Name: c.config.ReplicaName, OwnerReferences: []metav1.OwnerReference{owner},
		Labels: map[string]string{internalv1alpha1.ServerUIDLabel: c.config.ServerUID},
	}
}

// replicaOwner is the Pod of this process, so that the Replica is gone as soon as the Pod is; the
// server, if there is no Pod.
func (c *Cluster) replicaOwner() metav1.OwnerReference {
	if c.config.PodUID == "" {
		return c.server()
	}
	return metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: c.config.ReplicaName, UID: types.UID(c.config.PodUID)}
}

// server owns the Usage, which outlives its process.
func (c *Cluster) server() metav1.OwnerReference {
	return metav1.OwnerReference{
		APIVersion: "oauth-operator.dev/v1alpha1", Kind: "AuthorizationServer", Name: c.config.ServerName, UID: types.UID(c.config.ServerUID),
	}
}

// truncate returns at most the first limit bytes of a text, without a part of a character at the
// end.
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
