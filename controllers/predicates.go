package controllers

import (
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/names"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

func ignoreCreate(event.CreateEvent) bool { return false }
func ignoreUpdate(event.UpdateEvent) bool { return false }
func ignoreDelete(event.DeleteEvent) bool { return false }

// onDelete passes deletions.
func onDelete() predicate.Predicate {
	return predicate.Funcs{CreateFunc: ignoreCreate, UpdateFunc: ignoreUpdate}
}

// onCreateOrDelete passes creations and deletions.
func onCreateOrDelete() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: ignoreUpdate}
}

// onUpdateIf passes creations and deletions, and updates for which isRelevant returns true.
func onUpdateIf[T client.Object](isRelevant func(before, after T) bool) predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(T)
		after, is := e.ObjectNew.(T)
		return ok && is && isRelevant(before, after)
	}}
}

// onRealChange passes what happens to an Entry, but not that it existed when the manager started or
// still exists. An Entry that has no owner then is deleted by the Sweeper, which first looks how
// many there are.
func onRealChange() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion()
		},
	}
}

// onNewOwner passes that a name got an Entry, or that its Entry got another owner. An Entry that
// existed when the manager started was in the cache before anything was decided.
func onNewOwner() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*internalv1alpha1.Entry)
			after, is := e.ObjectNew.(*internalv1alpha1.Entry)
			return ok && is && before.Spec.Owner.UID != after.Spec.Owner.UID
		},
		DeleteFunc: ignoreDelete,
	}
}

// onChangedRequest passes that an object is deleted, asks for other names, has others or is
// accepted otherwise than before. A new object comes after all that ask for its names.
func onChangedRequest() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: ignoreCreate,
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, after := e.ObjectOld, e.ObjectNew
			return before.GetDeletionTimestamp().IsZero() != after.GetDeletionTimestamp().IsZero() ||
				differInAccepted(conditionsOf(before), conditionsOf(after)) ||
				!reflect.DeepEqual(names.Of(before), names.Of(after))
		},
	}
}

// differInServerState reports whether an AuthorizationServer is accepted otherwise than before, or
// is being deleted: its objects quote that.
func differInServerState(before, after *v1alpha1.AuthorizationServer) bool {
	return before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
		differInAccepted(before.Status.Conditions, after.Status.Conditions)
}

// differInAccepted reports whether the condition Accepted has another status or reason than before.
func differInAccepted(before, after []metav1.Condition) bool {
	b, a := meta.FindStatusCondition(before, v1alpha1.ConditionAccepted), meta.FindStatusCondition(after, v1alpha1.ConditionAccepted)
	return (b == nil) != (a == nil) || b != nil && (b.Status != a.Status || b.Reason != a.Reason)
}

// differInSpec reports whether the spec of a client changed.
func differInSpec(before, after *v1alpha1.OAuthClient) bool {
	return before.Generation != after.Generation
}

// differInPolicy reports whether a document changed in what decides about other objects: a server's
// in all but its keys, an IdentityProvider's in whether users can sign in, and any other at all.
func differInPolicy(before, after *internalv1alpha1.Entry) bool {
	if before.Spec.Document == after.Spec.Document {
		return false
	}
	switch documents.Kind(after.Spec.Format) {
	case documents.KindServer:
	case documents.KindIdentityProvider:
		b, errBefore := decodeEntry[documents.IdentityProvider](before)
		a, err := decodeEntry[documents.IdentityProvider](after)
		return errBefore != nil || err != nil || a.IsInService() != b.IsInService()
	default:
		return true
	}
	b, err := decodeEntry[documents.Server](before)
	if err != nil {
		return true
	}
	a, err := decodeEntry[documents.Server](after)
	b.Keys, a.Keys, b.RevokedKeys, a.RevokedKeys = nil, nil, nil, nil
	return err != nil || !reflect.DeepEqual(a, b)
}

// differInApplied reports whether a Replica has applied another version than before.
func differInApplied(before, after *internalv1alpha1.Replica) bool {
	return before.Spec.AppliedResourceVersion != after.Spec.AppliedResourceVersion
}

// differInAbility reports whether a Replica says something else than before of what it can serve, or
// was not live before. A renewal alone says nothing, nor does what it has applied.
func (op *operator) differInAbility(before, after *internalv1alpha1.Replica) bool {
	b, a := &before.Spec, &after.Spec
	return op.liveness.hasRevived(before, after) || b.Ready != a.Ready || !reflect.DeepEqual(b.Rejected, a.Rejected) ||
		!slices.Equal(b.Formats, a.Formats) || !slices.Equal(b.Upstreams, a.Upstreams)
}

// differInReport reports whether a Replica says anything else than before but what it has applied, or
// was not live before.
func (op *operator) differInReport(before, after *internalv1alpha1.Replica) bool {
	b, a := before.Spec, after.Spec
	b.RenewTime, b.AppliedResourceVersion = a.RenewTime, a.AppliedResourceVersion
	return op.liveness.hasRevived(before, after) || !reflect.DeepEqual(b, a)
}

// differInProviderProblems reports whether a Replica names other identity providers that are away
// than before.
func differInProviderProblems(before, after *internalv1alpha1.Replica) bool {
	return !slices.Equal(before.Spec.IdentityProviderProblems, after.Spec.IdentityProviderProblems)
}

// differInDisplayName reports whether the login page calls an IdentityProvider otherwise than before.
func differInDisplayName(before, after *v1alpha1.IdentityProvider) bool {
	return compile.DisplayName(before) != compile.DisplayName(after)
}

// differInServer reports whether the spec of an AuthorizationServer has changed, or differInServerState.
func differInServer(before, after *v1alpha1.AuthorizationServer) bool {
	return before.Generation != after.Generation || differInServerState(before, after)
}

// differInServerSpec reports whether the spec of an AuthorizationServer changed.
func differInServerSpec(before, after *v1alpha1.AuthorizationServer) bool {
	return before.Generation != after.Generation
}

// differInRejected reports whether a Replica rejects other Entries than before.
func differInRejected(before, after *internalv1alpha1.Replica) bool {
	return !reflect.DeepEqual(before.Spec.Rejected, after.Spec.Rejected)
}
