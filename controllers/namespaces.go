package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

type namespaceReconciler struct{ *operator }

// Reconcile keeps the labels of a namespace current at every server that knows the namespace. The first object of a namespace at a server
// makes it known there.
func (r *namespaceReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var namespace corev1.Namespace
	if err := r.Get(ctx, request.NamespacedName, &namespace); err != nil {
		if client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, err
		}
		return r.done(kindNamespace, request.NamespacedName, r.forget(ctx, kindNamespace, request.NamespacedName))
	}
	entries, err := r.listEntries(ctx, internalv1alpha1.Owner{Kind: kindNamespace, Name: namespace.Name})
	if err != nil {
		return ctrl.Result{}, err
	}
	for i := range entries {
		var server v1alpha1.AuthorizationServer
		if err := r.Get(ctx, serverOfEntry(&entries[i]), &server); err != nil {
			if client.IgnoreNotFound(err) != nil {
				return ctrl.Result{}, err
			}
			continue // the Entry goes with its server
		}
		if server.UID != entries[i].Spec.ServerUID {
			continue
		}
		if _, _, err := r.ensureNamespaceEntry(ctx, &server, namespace.Name); err != nil {
			return r.done(kindNamespace, request.NamespacedName, err)
		}
	}
	return r.done(kindNamespace, request.NamespacedName, nil)
}
