package controllers

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/names"
)

// watchNames reconciles the objects of a kind when the decision which of their names they have may
// change: when an Entry of a name is deleted; and for a name that has no Entry, when an older
// object that asks for it is deleted, changes or loses another name that it needs.
func (op *operator) watchNames(w *watches, list client.ObjectList) *watches {
	w.Watches(&internalv1alpha1.Entry{}, enqueueRequestsFor(op.mapEntryToRequesters(list)), onDelete())
	for _, kind := range names.RequestingKinds() {
		w.Watches(kind, enqueueRequestsFor(op.mapRequesterToWaiting(list)), onChangedRequest())
	}
	return w.Watches(&internalv1alpha1.Entry{}, enqueueRequestsFor(op.mapEntryToWaiting(list)), onNewOwner())
}

// mapEntryToRequesters maps an Entry to the objects that ask for its name.
func (op *operator) mapEntryToRequesters(list client.ObjectList) mapFunc {
	return func(ctx context.Context, changed client.Object) []client.ObjectKey {
		e, ok := changed.(*internalv1alpha1.Entry)
		if !ok || e.Spec.Space == internalv1alpha1.SpaceNamespace {
			return nil
		}
		return op.listKeys(ctx, list, client.MatchingFields{names.IndexName: names.Key(serverOfEntry(e), nameOf(e))})
	}
}

func nameOf(e *internalv1alpha1.Entry) compile.Name {
	return compile.Name{Space: e.Spec.Space, Value: e.Spec.Value}
}

// mapRequesterToWaiting maps an object that asks for names to the objects that wait for one of
// them.
func (op *operator) mapRequesterToWaiting(list client.ObjectList) mapFunc {
	return func(ctx context.Context, changed client.Object) []client.ObjectKey {
		return op.listWaiting(ctx, list, names.ServerOf(changed), names.Of(changed).Requested)
	}
}

// mapEntryToWaiting maps an Entry to the objects that wait for another name of an object that has
// lost the Entry's name to its owner: an object that lacks a name that it needs does not keep its
// other names from them. An OAuthClient has no other name, and a ResourceServer needs none but its
// identifier.
func (op *operator) mapEntryToWaiting(list client.ObjectList) mapFunc {
	return func(ctx context.Context, changed client.Object) []client.ObjectKey {
		e, ok := changed.(*internalv1alpha1.Entry)
		if !ok || e.Spec.Space != internalv1alpha1.SpaceIdentity && e.Spec.Space != internalv1alpha1.SpaceUsername {
			return nil
		}
		lost, server := nameOf(e), serverOfEntry(e)
		var others []compile.Name
		for _, losers := range []client.ObjectList{&v1alpha1.OAuthUserList{}, &v1alpha1.ResourceServerList{}} {
			if err := op.List(ctx, losers, client.MatchingFields{names.IndexName: names.Key(server, lost)}, client.UnsafeDisableDeepCopy); err != nil {
				ctrl.LoggerFrom(ctx).Error(err, "Cannot read the cache")
				return nil
			}
			_ = meta.EachListItem(losers, func(item runtime.Object) error { // it returns what the function does
				if loser, ok := item.(client.Object); ok && loser.GetUID() != e.Spec.Owner.UID {
					requested := names.Of(loser).Requested
					others = append(others, slices.DeleteFunc(requested, func(name compile.Name) bool { return name == lost })...)
				}
				return nil
			})
		}
		return op.listWaiting(ctx, list, server, others)
	}
}

// listWaiting returns the objects that ask for a name that has no Entry. The objects that ask for a
// name that has one wait only for the end of that Entry: thousands may ask for the name, and each
// of them may change.
func (op *operator) listWaiting(ctx context.Context, list client.ObjectList, key client.ObjectKey, requested []compile.Name) []client.ObjectKey {
	if len(requested) == 0 {
		return nil
	}
	var server v1alpha1.AuthorizationServer
	if err := op.Get(ctx, key, &server, client.UnsafeDisableDeepCopy); err != nil {
		return nil // all wait for the server
	}
	var keys []client.ObjectKey
	for _, name := range requested {
		if e, err := op.entries.Get(ctx, &server, name); err == nil && e == nil {
			keys = append(keys, op.listKeys(ctx, list, client.MatchingFields{names.IndexName: names.Key(key, name)})...)
		}
	}
	return keys
}
