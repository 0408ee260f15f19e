package controllers

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// replaceStatus writes the status of an object and tells what is news in it, if the object is still as it was seen. Otherwise the change that was
// not seen yet wakes us, and what was found out is looked at again: it may be about another object, which was created under the same name.
func (op *operator) replaceStatus(ctx context.Context, object client.Object, before []metav1.Condition, status any) error {
	patch, err := json.Marshal([]map[string]any{
		{"op": "test", "path": "/metadata/resourceVersion", "value": object.GetResourceVersion()},
		{"op": "add", "path": "/status", "value": status},
	})
	if err != nil {
		return fmt.Errorf("writing down a status: %w", err)
	}
	seen := object.GetResourceVersion()
	err = op.Status().Patch(ctx, object, client.RawPatch(types.JSONPatchType, patch), client.FieldOwner(FieldManager))
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsInvalid(err): // the answer to a test that failed, and to a status that is not valid
		now, _ := object.DeepCopyObject().(client.Object)
		lookErr := op.apiReader.Get(ctx, client.ObjectKeyFromObject(object), now)
		if apierrors.IsNotFound(lookErr) || lookErr == nil && now.GetResourceVersion() != seen {
			return nil
		}
		return err
	case err != nil:
		return err
	}
	op.announce(object, before, conditionsOf(object))
	return nil
}
