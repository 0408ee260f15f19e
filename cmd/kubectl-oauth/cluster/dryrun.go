package cluster

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// DryRun has the API server check an object as if it were created, or if there is one of that name,
// as if it replaced that; nothing is stored. The error says what the API server would refuse. It
// wraps ErrNotFound if the namespace does not exist.
func (c *Cluster) DryRun(ctx context.Context, object client.Object) error {
	namespace, name := object.GetNamespace(), object.GetName()
	tried := object.DeepCopyObject().(client.Object)
	err := c.client.Create(ctx, tried, client.DryRunAll, client.FieldOwner(FieldManager))
	if apierrors.IsAlreadyExists(err) {
		current := object.DeepCopyObject().(client.Object)
		if err := c.Get(ctx, current, namespace, name); err != nil {
			return err
		}
		tried = object.DeepCopyObject().(client.Object)
		tried.SetResourceVersion(current.GetResourceVersion())
		err = c.client.Update(ctx, tried, client.DryRunAll, client.FieldOwner(FieldManager))
		if apierrors.IsForbidden(err) {
			return c.explainError(err, "update", object, namespace, name)
		}
	}
	if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) && !isAuthorization(err) {
		return fmt.Errorf("the API server would refuse the manifest: %w", err)
	}
	return c.explainError(err, "create", object, namespace, name)
}
