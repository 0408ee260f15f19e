package controllers

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// replicaLifetime is how long a replica is live after its last change. It renews its Replica every
// ten seconds.
const replicaLifetime = 30 * time.Second

// deadReplicaRetention is how long a Replica is kept after its process died, and a Usage after it
// changed last.
const deadReplicaRetention = time.Hour

// replica is a Replica that is live.
type replica struct {
	*internalv1alpha1.Replica
	// until is when it stops being live, unless it changes before.
	until time.Time
	// renewed is whether it was seen to change. A Replica that was found when the manager started
	// may be dead; what it says must not be overlooked.
	renewed bool
}

// listReplicas returns the Replicas of a server in the cache, also those of dead processes. They
// belong to the cache: the caller must not change them. A Replica of another namespace is not the
// server's, whatever it says.
func (op *operator) listReplicas(ctx context.Context, server *v1alpha1.AuthorizationServer) ([]internalv1alpha1.Replica, error) {
	var list internalv1alpha1.ReplicaList
	err := op.List(ctx, &list, client.InNamespace(server.Namespace), client.MatchingFields{indexServerUID: string(server.UID)},
		client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing Replicas: %w", err)
	}
	return list.Items, nil
}

// filterLive returns those of the Replicas that changed within replicaLifetime.
func (op *operator) filterLive(known []internalv1alpha1.Replica) []replica {
	changes := make([]observedChange, len(known))
	for i := range known { // one of them may end an outage, which concerns all
		changes[i] = op.liveness.observe(&known[i])
	}
	var live []replica
	now := op.now()
	for i := range known {
		if until, renewed := op.liveness.liveUntil(changes[i]); until.After(now) {
			live = append(live, replica{&known[i], until, renewed})
		}
	}
	return live
}

// liveReplicas returns the live replicas of a server.
func (op *operator) liveReplicas(ctx context.Context, server *v1alpha1.AuthorizationServer) ([]replica, error) {
	known, err := op.listReplicas(ctx, server)
	return op.filterLive(known), err
}

// confirmLiveReplicas is liveReplicas for a caller that concludes something from the death of a
// replica. The watch may be behind: after an outage of the API server it can be back later than the
// replicas are. So if a replica seems to have died lately, the API server is asked.
func (op *operator) confirmLiveReplicas(ctx context.Context, server *v1alpha1.AuthorizationServer) ([]replica, error) {
	known, err := op.listReplicas(ctx, server)
	if err != nil {
		return nil, err
	}
	now := op.now()
	if !slices.ContainsFunc(known, func(r internalv1alpha1.Replica) bool {
		unchanged := now.Sub(op.liveness.observe(&r).at)
		return unchanged >= replicaLifetime && unchanged < replicaLifetime+deadReplicaRetention
	}) {
		return op.filterLive(known), nil
	}
	var all internalv1alpha1.ReplicaList
	if err := op.apiReader.List(ctx, &all, client.InNamespace(server.Namespace), client.MatchingLabels{internalv1alpha1.ServerUIDLabel: string(server.UID)}); err != nil {
		return nil, fmt.Errorf("listing Replicas: %w", err)
	}
	return op.filterLive(slices.DeleteFunc(all.Items, func(r internalv1alpha1.Replica) bool { return r.Spec.ServerUID != server.UID })), nil
}

// deleteDeadReplicas deletes the Replicas and Usages of processes that have been dead for
// deadReplicaRetention, and returns when there may be more to delete. A process that was killed
// leaves both behind, and one that was stopped its Usage.
func (op *operator) deleteDeadReplicas(ctx context.Context, server *v1alpha1.AuthorizationServer) (next time.Time, err error) {
	known, err := op.listReplicas(ctx, server)
	if err != nil {
		return next, err
	}
	usages, err := op.listUsages(ctx, client.InNamespace(server.Namespace), client.MatchingFields{indexServerUID: string(server.UID)})
	if err != nil {
		return next, err
	}
	kept := map[string]bool{}
	for i := range known {
		due := op.liveness.observe(&known[i]).at.Add(replicaLifetime + deadReplicaRetention)
		deleted, err := op.deleteWhenDue(ctx, &known[i], due)
		if err != nil {
			return next, err
		}
		if !deleted {
			kept[known[i].Name] = true
			next = earliest(next, due)
		}
	}
	for i := range usages {
		if kept[usages[i].Name] {
			continue
		}
		due := op.liveness.observe(&usages[i]).at.Add(deadReplicaRetention)
		if !due.After(op.now()) {
			if err := op.rememberUnreported(ctx, server, &usages[i]); err != nil {
				return next, err
			}
		}
		deleted, err := op.deleteWhenDue(ctx, &usages[i], due)
		if err != nil {
			return next, err
		}
		if !deleted {
			next = earliest(next, due)
		}
	}
	return next, nil
}

// deleteWhenDue deletes this version of an object if that is due, and reports whether it is. An
// object that has changed meanwhile stays.
func (op *operator) deleteWhenDue(ctx context.Context, object client.Object, due time.Time) (isDue bool, err error) {
	if due.After(op.now()) {
		return false, nil
	}
	uid, version := object.GetUID(), object.GetResourceVersion()
	err = op.Delete(ctx, object, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return false, fmt.Errorf("deleting %s, whose process is gone: %w", object.GetName(), err)
	}
	return true, nil
}

// progress is whether token servers serve some Entries.
type progress struct {
	condition condition
	// recheck is when the replica because of which the condition is not True stops being live.
	recheck time.Time
	// awaited is the version that the replicas have to apply, if that is all there is to wait for.
	awaited uint64
}

// programmedCondition says whether every live replica serves some Entries, and one of them is
// ready.
func programmedCondition(live []replica, entries []*internalv1alpha1.Entry) progress {
	if len(live) == 0 {
		return progress{condition: falseCondition(v1alpha1.ReasonNoReplica, "no token server of the AuthorizationServer is running")}
	}
	if c, recheck := rejectedCondition(live, entries); c.isSet() {
		return progress{condition: c, recheck: recheck}
	}
	latest := latestVersion(entries)
	for i := range live {
		if !hasApplied(live[i].Spec.AppliedResourceVersion, latest) {
			return progress{
				falseCondition(v1alpha1.ReasonPending, "token server %s does not serve the latest change yet", live[i].Name), live[i].until, latest,
			}
		}
	}
	if !slices.ContainsFunc(live, func(r replica) bool { return r.Spec.Ready }) {
		return progress{condition: falseCondition(v1alpha1.ReasonNoReplica, "no token server of the AuthorizationServer is ready")}
	}
	return progress{condition: servedCondition()}
}

// latestVersion returns the highest resourceVersion of Entries, as the number that it is.
func latestVersion(entries []*internalv1alpha1.Entry) uint64 {
	var latest uint64
	for _, e := range entries {
		version, err := strconv.ParseUint(e.ResourceVersion, 10, 64)
		if err != nil {
			return math.MaxUint64 // no replica says that it serves what is no number
		}
		latest = max(latest, version)
	}
	return latest
}

// rejectedCondition says which of the Entries a replica cannot read, and when that one stops being
// live. It is not set if all replicas can read all Entries.
func rejectedCondition(live []replica, entries []*internalv1alpha1.Entry) (c condition, recheck time.Time) {
	for i := range live {
		spec := &live[i].Spec
		for _, e := range entries {
			for _, r := range spec.Rejected {
				if r.Name == e.Name && r.ResourceVersion == e.ResourceVersion {
					return falseCondition(v1alpha1.ReasonEntryRejected, "token server %s cannot serve it: %s", live[i].Name, r.Reason), live[i].until
				}
			}
			if e.Spec.Format != "" && len(spec.Formats) > 0 && !slices.Contains(spec.Formats, e.Spec.Format) {
				return falseCondition(v1alpha1.ReasonEntryRejected, "token server %s does not read documents of format %s: upgrade it", live[i].Name, e.Spec.Format), live[i].until
			}
		}
	}
	return condition{}, time.Time{}
}

// hasApplied reports whether a replica that has applied a resourceVersion serves an Entry's.
func hasApplied(replica string, entry uint64) bool {
	have, err := strconv.ParseUint(replica, 10, 64)
	return err == nil && have >= entry
}

// latchProgrammed keeps Programmed True for the generation for which it was True once: a restart of
// a token server is a matter of the AuthorizationServer. It does not when another condition becomes
// True, since then something else has to be served than before, or when a replica cannot read an
// Entry.
func latchProgrammed(c condition, before []metav1.Condition, generation int64, others []typedCondition) condition {
	if c.isTrue() || c.reason == v1alpha1.ReasonEntryRejected || hasNewTrue(before, others) ||
		!hasCondition(before, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, generation) {
		return c
	}
	return servedCondition()
}

// servedCondition has a message that stays true while a token server restarts.
func servedCondition() condition {
	return trueCondition(v1alpha1.ReasonProgrammed, "all token servers have served this generation")
}

// unprogrammedKeys returns the values of indexUnprogrammed for an object with these conditions. An
// object that is refused does not wait for replicas, unless its document waits for their upgrade.
func unprogrammedKeys(server client.ObjectKey, conditions []metav1.Condition, generation int64) []string {
	programmed := meta.FindStatusCondition(conditions, v1alpha1.ConditionProgrammed)
	if programmed != nil && programmed.ObservedGeneration == generation && (programmed.Status == metav1.ConditionTrue ||
		programmed.Reason == v1alpha1.ReasonPending && hasCondition(conditions, v1alpha1.ConditionAccepted, metav1.ConditionFalse, generation)) {
		return nil
	}
	return []string{server.String()}
}
