package controllers

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	served "github.com/oauth-operator/oauth-operator/api/served/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// liveFor is how long after its last renewal a replica counts.
const liveFor = 30 * time.Second

// replicas of a server as the watch knows them, the dead ones too.
func (op *operator) replicas(ctx context.Context, server types.UID) ([]served.Replica, error) {
	var list served.ReplicaList
	if err := op.List(ctx, &list, client.MatchingFields{indexServerUID: string(server)}); err != nil {
		return nil, fmt.Errorf("listing Replicas: %w", err)
	}
	return list.Items, nil
}

// liveReplicas of a server.
func (op *operator) liveReplicas(ctx context.Context, server types.UID) ([]served.Replica, error) {
	known, err := op.replicas(ctx, server)
	return slices.DeleteFunc(known, deadFor(0, op.now())), err
}

// liveReplicasNow is liveReplicas for what is decided by a replica's death. The watch may be behind: after an outage of the API server it can
// be back after the replicas are. So where one seems to have died lately, the API server is asked.
func (op *operator) liveReplicasNow(ctx context.Context, server *v1alpha1.AuthorizationServer) ([]served.Replica, error) {
	known, err := op.replicas(ctx, server.UID)
	if err != nil {
		return nil, err
	}
	dead, mourned := deadFor(0, op.now()), deadFor(mourning, op.now())
	if !slices.ContainsFunc(known, func(r served.Replica) bool { return dead(r) && !mourned(r) }) {
		return slices.DeleteFunc(known, dead), nil
	}
	var all served.ReplicaList
	if err := op.live.List(ctx, &all, client.InNamespace(server.Namespace), client.MatchingLabels{served.ServerUIDLabel: string(server.UID)}); err != nil {
		return nil, fmt.Errorf("listing Replicas: %w", err)
	}
	return slices.DeleteFunc(all.Items, func(r served.Replica) bool { return r.Spec.ServerUID != server.UID || dead(r) }), nil
}

// mourning is how long after its death a replica is still asked for.
const mourning = time.Hour

// buryReplicas removes those that have been dead for long: a process that was killed leaves its own behind.
func (op *operator) buryReplicas(ctx context.Context, server *v1alpha1.AuthorizationServer) error {
	known, err := op.replicas(ctx, server.UID)
	if err != nil {
		return err
	}
	mourned := deadFor(mourning, op.now())
	for i := range known {
		r := &known[i]
		if !mourned(*r) {
			continue
		}
		// One that has renewed itself meanwhile has another version.
		err := op.Delete(ctx, r, client.Preconditions{UID: &r.UID, ResourceVersion: &r.ResourceVersion})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("removing Replica %s: %w", r.Name, err)
		}
	}
	return nil
}

// deadFor so long, or longer.
func deadFor(long time.Duration, now time.Time) func(served.Replica) bool {
	return func(r served.Replica) bool { return !expiry(&r).Add(long).After(now) }
}

// expiry is when a replica is live no more, unless it renews.
func expiry(r *served.Replica) time.Time { return r.Spec.RenewTime.Add(liveFor) }

// programmed says whether every live replica serves these Entries, and one of them is ready to. When it does not because of one, recheck is when
// that one has died, if it has.
func programmed(live []served.Replica, entries []*served.Entry) (v verdict, recheck time.Time) {
	if len(live) == 0 {
		return fails(v1alpha1.ReasonNoReplica, "no token server of the AuthorizationServer is running"), time.Time{}
	}
	if v, recheck := rejected(live, entries); v.decided() {
		return v, recheck
	}
	for i := range live {
		for _, e := range entries {
			if !applied(live[i].Spec.AppliedResourceVersion, e.ResourceVersion) {
				return fails(v1alpha1.ReasonPending, "token server %s does not serve the latest change yet", live[i].Name), expiry(&live[i])
			}
		}
	}
	if !slices.ContainsFunc(live, func(r served.Replica) bool { return r.Spec.Ready }) {
		return fails(v1alpha1.ReasonNoReplica, "no token server of the AuthorizationServer is ready"), time.Time{}
	}
	return holds(v1alpha1.ReasonProgrammed, "all token servers serve it"), time.Time{}
}

// rejected says which of the Entries a replica cannot read, and when that one has died; undecided if there is none.
func rejected(live []served.Replica, entries []*served.Entry) (v verdict, recheck time.Time) {
	for i := range live {
		spec := &live[i].Spec
		for _, e := range entries {
			for _, r := range spec.Rejected {
				if r.Name == e.Name && r.ResourceVersion == e.ResourceVersion {
					return fails(v1alpha1.ReasonEntryRejected, "token server %s cannot serve it: %s", live[i].Name, r.Reason), expiry(&live[i])
				}
			}
			if e.Spec.Format != "" && len(spec.Formats) > 0 && !slices.Contains(spec.Formats, e.Spec.Format) {
				return fails(v1alpha1.ReasonEntryRejected, "token server %s does not read documents of format %s: upgrade it", live[i].Name, e.Spec.Format), expiry(&live[i])
			}
		}
	}
	return verdict{}, time.Time{}
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

// latch keeps Programmed for the generation for which it was once reached: a restart of a token server is the AuthorizationServer's business.
// It opens when another condition turns to True, since then something else has to be served than before, and when a replica cannot read
// an Entry.
func latch(v verdict, before []metav1.Condition, generation int64, others []part) verdict {
	if v.ok() || v.reason == v1alpha1.ReasonEntryRejected || becameTrue(before, others) ||
		!conditionIs(before, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, generation) {
		return v
	}
	return holds(v1alpha1.ReasonProgrammed, "all token servers serve it")
}

// unprogrammed is the index by which Replicas wake those who wait for them.
func unprogrammed(server client.ObjectKey, conditions []metav1.Condition, generation int64) []string {
	if conditionIs(conditions, v1alpha1.ConditionProgrammed, metav1.ConditionTrue, generation) {
		return nil
	}
	return []string{keyText(server)}
}
