package controllers

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// isWatched reports whether the manager sees the objects of a namespace.
func (op *operator) isWatched(namespace string) bool {
	return namespace == "" || len(op.namespaces) == 0 || slices.Contains(op.namespaces, namespace)
}

// Get implements client.Reader. In a namespace that the manager does not watch no object exists; the
// cache would return an error.
func (op *operator) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if op.isWatched(key.Namespace) {
		return op.Client.Get(ctx, key, object, options...)
	}
	gvk, err := apiutil.GVKForObject(object, op.Scheme())
	if err != nil {
		return err
	}
	return apierrors.NewNotFound(schema.GroupResource{Group: gvk.Group, Resource: gvk.Kind}, key.Name)
}
