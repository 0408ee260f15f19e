package controllers

import (
	"context"
	"fmt"
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

// liveFor is how long after its last change a replica counts. It renews itself every 10 seconds.
const liveFor = 30 * time.Second

// mourning is how long after its death a replica is still asked for, and its Usage kept.
const mourning = time.Hour

// replica is a Replica that is live.
type replica struct {
	*internalv1alpha1.Replica
	// until is when it is live no more, unless it changes before.
	until time.Time
	// renewed reports that it was seen to change. Else it was found when the manager started: what
	// it says must not be overlooked, and it may be dead.
	renewed bool
}

// replicas of a server as the watch knows them, the dead ones too. They are the cache's own.
// Those of another namespace are another's to write.
func (op *operator) replicas(ctx context.Context, server *v1alpha1.AuthorizationServer) ([]internalv1alpha1.Replica, error) {
	var list internalv1alpha1.ReplicaList
	err := op.List(ctx, &list, client.InNamespace(server.Namespace), client.MatchingFields{indexServerUID: string(server.UID)},
		client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing Replicas: %w", err)
	}
	return list.Items, nil
}

// liveOf are those of the Replicas that changed in the last 30 seconds.
func (op *operator) filterLive(known []internalv1alpha1.Replica) []replica {
	seen := make([]sighting, len(known))
	for i := range known { // one of them may end a silence, which concerns them all
		seen[i] = op.seen.see(&known[i])
	}
	var live []replica
	now := op.now()
	for i := range known {
		if until, renewed := op.seen.lives(seen[i]); until.After(now) {
			live = append(live, replica{&known[i], until, renewed})
		}
	}
	return live
}

// liveReplicas of a server.
func (op *operator) liveReplicas(ctx context.Context, server *v1alpha1.AuthorizationServer) ([]replica, error) {
	known, err := op.replicas(ctx, server)
	return op.filterLive(known), err
}

// liveReplicasNow is liveReplicas for what is decided by a replica's death. The watch may be
// behind: after an outage of the API server it can be back after the replicas are. So where one
// seems to have died lately, the API server is asked.
func (op *operator) confirmLiveReplicas(ctx context.Context, server *v1alpha1.AuthorizationServer) ([]replica, error) {
	known, err := op.replicas(ctx, server)
	if err != nil {
		return nil, err
	}
	now := op.now()
	if !slices.ContainsFunc(known, func(r internalv1alpha1.Replica) bool {
		still := now.Sub(op.seen.see(&r).at)
		return still >= liveFor && still < liveFor+mourning
	}) {
		return op.filterLive(known), nil
	}
	var all internalv1alpha1.ReplicaList
	if err := op.apiReader.List(ctx, &all, client.InNamespace(server.Namespace), client.MatchingLabels{internalv1alpha1.ServerUIDLabel: string(server.UID)}); err != nil {
		return nil, fmt.Errorf("listing Replicas: %w", err)
	}
	return op.filterLive(slices.DeleteFunc(all.Items, func(r internalv1alpha1.Replica) bool { return r.Spec.ServerUID != server.UID })), nil
}

// buryReplicas removes the Replicas and Usages of processes that have been dead for long, and
// returns when there may be more to remove. A process that was killed leaves both behind, and one
// that ended in order its Usage.
func (op *operator) buryReplicas(ctx context.Context, server *v1alpha1.AuthorizationServer) (next time.Time, err error) {
	known, err := op.replicas(ctx, server)
	if err != nil {
		return next, err
	}
	usages, err := op.usages(ctx, client.InNamespace(server.Namespace), client.MatchingFields{indexServerUID: string(server.UID)})
	if err != nil {
		return next, err
	}
	kept := map[string]bool{}
	for i := range known {
		due := op.seen.see(&known[i]).at.Add(liveFor + mourning)
		buried, err := op.bury(ctx, &known[i], due)
		if err != nil {
			return next, err
		}
		if !buried {
			kept[known[i].Name] = true
			next = earliest(next, due)
		}
	}
	for i := range usages {
		if kept[usages[i].Name] {
			continue
		}
		due := op.seen.see(&usages[i]).at.Add(mourning)
		buried, err := op.bury(ctx, &usages[i], due)
		if err != nil {
			return next, err
		}
		if !buried {
			next = earliest(next, due)
		}
	}
	return next, nil
}

// bury removes an object if that is due. One that has changed meanwhile has another version and
// stays.
func (op *operator) bury(ctx context.Context, object client.Object, due time.Time) (done bool, err error) {
	if due.After(op.now()) {
		return false, nil
	}
	uid, version := object.GetUID(), object.GetResourceVersion()
	err = op.Delete(ctx, object, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return false, fmt.Errorf("removing %s, whose process is gone: %w", object.GetName(), err)
	}
	return true, nil
}

// programmed says whether every live replica serves these Entries, and one of them is ready to.
// When it does not because of one, recheck is when that one has died, if it has.
func programmed(live []replica, entries []*internalv1alpha1.Entry) (v condition, recheck time.Time) {
	if len(live) == 0 {
		return falseCondition(v1alpha1.ReasonNoReplica, "no token server of the AuthorizationServer is running"), time.Time{}
	}
	if v, recheck := rejected(live, entries); v.isSet() {
		return v, recheck
	}
	for i := range live {
		for _, e := range entries {
			if !applied(live[i].Spec.AppliedResourceVersion, e.ResourceVersion) {
				return falseCondition(v1alpha1.ReasonPending, "token server %s does not serve the latest change yet", live[i].Name), live[i].until
			}
		}
	}
	if !slices.ContainsFunc(live, func(r replica) bool { return r.Spec.Ready }) {
		return falseCondition(v1alpha1.ReasonNoReplica, "no token server of the AuthorizationServer is ready"), time.Time{}
	}
	return trueCondition(v1alpha1.ReasonProgrammed, "all token servers serve it"), time.Time{}
}

// rejected says which of the Entries a replica cannot read, and when that one has died; undecided
// if there is none.
func rejected(live []replica, entries []*internalv1alpha1.Entry) (v condition, recheck time.Time) {
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

// applied compares resourceVersions as the numbers that they are.
func applied(replica, entry string) bool {
	have, err := strconv.ParseUint(replica, 10, 64)
	if err != nil {
		return false
	}
	want, err := strconv.ParseUint(entry, 10, 64)
	return err == nil && have >= want
}

// latch keeps Programmed for the generation for which it was once reached: a restart of a token
// server is the AuthorizationServer's business. It opens when another condition turns to True,
// since then something else has to be served than before, and when a replica cannot read an Entry.
func latch(v condition, before []metav1.Condition, generation int64, others []typedCondition) condition {
	if v.isTrue() || v.reason == v1alpha1.ReasonEntryRejected || becameTrue(before, others) ||
		!conditionIs(before, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, generation) {
		return v
	}
	return trueCondition(v1alpha1.ReasonProgrammed, "all token servers serve it")
}

// unprogrammed is the index by which Replicas wake those who wait for them. One that is refused
// does not, unless it is its document that waits for them to be upgraded.
func unprogrammed(server client.ObjectKey, conditions []metav1.Condition, generation int64) []string {
	said := meta.FindStatusCondition(conditions, v1alpha1.ConditionProgrammed)
	if said != nil && said.ObservedGeneration == generation && (said.Status == metav1.ConditionTrue ||
		said.Reason == v1alpha1.ReasonPending && conditionIs(conditions, v1alpha1.ConditionAccepted, metav1.ConditionFalse, generation)) {
		return nil
	}
	return []string{keyText(server)}
}
