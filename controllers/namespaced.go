package controllers

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
)

// CacheOptionsFor are CacheOptions for a manager that watches the namespaces alone, and Namespaces
// themselves. None: all.
func CacheOptionsFor(namespaces []string) cache.Options {
	o := CacheOptions()
	for _, name := range namespaces {
		if o.DefaultNamespaces == nil {
			o.DefaultNamespaces = map[string]cache.Config{}
		}
		o.DefaultNamespaces[name] = cache.Config{}
	}
	return o
}

// watches reports whether the manager knows what is in a namespace.
func (op *operator) watches(namespace string) bool {
	return namespace == "" || len(op.namespaces) == 0 || slices.Contains(op.namespaces, namespace)
}

// Get implements client.Reader. In a namespace that the manager does not watch there is nothing:
// the cache would call it an error.
func (op *operator) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if op.watches(key.Namespace) {
		return op.Client.Get(ctx, key, object, options...)
	}
	gvk, err := apiutil.GVKForObject(object, op.Scheme())
	if err != nil {
		return err
	}
	return apierrors.NewNotFound(schema.GroupResource{Group: gvk.Group, Resource: gvk.Kind}, key.Name)
}

// isOwnerGone is ownerGone. What belongs to an owner that the manager cannot see stays, but for one
// whose namespace is gone, and with it the RoleBinding by which the manager could see that.
func (op *operator) isOwnerGone(ctx context.Context, owner internalv1alpha1.Owner) (bool, error) {
	if !op.watches(owner.Namespace) {
		return false, nil
	}
	gone, err := ownerGone(ctx, op.apiReader, owner)
	if !apierrors.IsForbidden(err) || owner.Namespace == "" {
		return gone, err
	}
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kindNamespace))
	switch lookErr := op.apiReader.Get(ctx, client.ObjectKey{Name: owner.Namespace}, namespace); {
	case apierrors.IsNotFound(lookErr) && !apierrors.IsUnexpectedServerError(lookErr):
		return true, nil
	case lookErr != nil:
		return false, fmt.Errorf("looking for the namespace of the owner of an Entry: %w", lookErr)
	case !namespace.DeletionTimestamp.IsZero():
		return true, nil
	}
	return false, err
}
