package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

type namespaceReconciler struct{ *operator }

// Reconcile writes the labels of a namespace at every server that has its document. The first
// object of the namespace at a server creates the document.
func (r *namespaceReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var namespace corev1.Namespace
	if err := r.Get(ctx, request.NamespacedName, &namespace); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	} else if err != nil {
		return r.reconcileDeleted(ctx, compile.KindNamespace, request.NamespacedName)
	}
	entries, err := r.entries.List(ctx, internalv1alpha1.Owner{Kind: compile.KindNamespace, Name: namespace.Name})
	if err != nil {
		return ctrl.Result{}, err
	}
	for i := range entries {
		var server v1alpha1.AuthorizationServer
		if err := r.Get(ctx, serverOfEntry(&entries[i]), &server); err != nil {
			if client.IgnoreNotFound(err) != nil {
				return ctrl.Result{}, err
			}
			continue // the Entry is deleted with its server
		}
		if server.UID != entries[i].Spec.ServerUID {
			continue
		}
		if _, _, err := r.ensureNamespaceEntry(ctx, &server, namespace.Name); err != nil {
			return r.finishWithoutStatus(compile.KindNamespace, request.NamespacedName, false, err)
		}
	}
	return r.finishWithoutStatus(compile.KindNamespace, request.NamespacedName, false, nil)
}
