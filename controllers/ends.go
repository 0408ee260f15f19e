package controllers

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// enqueueEnds enqueues an object before others of its namespace when what it allows ends: it is
// suspended or deleted, or credentials or tokens of it are to be good no more. After a start, what
// changed while no manager ran comes before what is as it was.
func enqueueEnds() handler.EventHandler {
	first := func(object client.Object, q requestQueue) {
		addFirst(q, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(object)})
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q requestQueue) {
			switch ends := endsOf(e.Object); {
			case !e.IsInInitialList || ends.observedGeneration == e.Object.GetGeneration():
			case ends.isSuspended || ends.isDeleted:
				first(e.Object, q)
			default:
				addWithPriority(q, 0, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(e.Object)})
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q requestQueue) {
			if endsOf(e.ObjectNew).isMoreThan(endsOf(e.ObjectOld)) {
				first(e.ObjectNew, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q requestQueue) { first(e.Object, q) },
	}
}

// ends says what of an object is to be good no more.
type ends struct {
	isSuspended, isDeleted bool
	tokensNotBefore        *metav1.Time
	revokedCredentials     []v1alpha1.CredentialID
	observedGeneration     int64 // for which the status says so
}

func endsOf(object client.Object) ends {
	found := ends{isDeleted: !object.GetDeletionTimestamp().IsZero()}
	set := func(suspended bool, tokensNotBefore *metav1.Time, observedGeneration int64) {
		found.isSuspended, found.tokensNotBefore, found.observedGeneration = suspended, tokensNotBefore, observedGeneration
	}
	switch o := object.(type) {
	case *v1alpha1.OAuthClient:
		set(o.Spec.Suspended, o.Spec.TokensNotBefore, o.Status.ObservedGeneration)
		if o.Spec.Secret != nil {
			found.revokedCredentials = o.Spec.Secret.RevokedCredentials
		}
	case *v1alpha1.OAuthUser:
		set(o.Spec.Suspended, o.Spec.TokensNotBefore, o.Status.ObservedGeneration)
	case *v1alpha1.OAuthIdentity:
		set(o.Spec.Suspended, o.Spec.TokensNotBefore, o.Status.ObservedGeneration)
		if !o.Spec.SaysSomething() { // and has no status of the manager's: most are so
			found.observedGeneration = o.Generation
		}
	}
	return found
}

// isAny reports whether anything of the object is to be good no more.
func (e ends) isAny() bool {
	return e.isSuspended || e.isDeleted || e.tokensNotBefore != nil || len(e.revokedCredentials) > 0
}

func (e ends) isMoreThan(before ends) bool {
	return e.isSuspended && !before.isSuspended || e.isDeleted && !before.isDeleted ||
		!e.tokensNotBefore.Equal(before.tokensNotBefore) || !slices.Equal(e.revokedCredentials, before.revokedCredentials)
}
