package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// writeStatus has fill change the status of an object, and writes it if that changed something,
// unless fill returns that it is due later.
func (op *operator) writeStatus(ctx context.Context, object client.Object, fill func() (due time.Time)) error {
	before := object.DeepCopyObject()
	if due := fill(); due.After(op.now()) {
		return nil
	}
	if equality.Semantic.DeepEqual(statusOf(before), statusOf(object)) { // it knows that one time can be written in two ways
		return nil
	}
	return op.replaceStatus(ctx, object, conditionsOf(before), statusOf(object.DeepCopyObject()))
}

// replaceStatus writes the status of an object, as patchStatus does.
func (op *operator) replaceStatus(ctx context.Context, object client.Object, before []metav1.Condition, status any) error {
	return op.patchStatus(ctx, object, before, jsonPatch{"add", "/status", status})
}

// jsonPatch is an operation of a JSON patch (RFC 6902 section 4).
type jsonPatch struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// patchStatus changes the status of an object and records events about its conditions, if the
// object is still the one that was read. Otherwise it does nothing: the change that was not seen
// yet causes another pass, and what this pass found may be about another object, which was created
// under the same name.
func (op *operator) patchStatus(ctx context.Context, object client.Object, before []metav1.Condition, changes ...jsonPatch) error {
	read := object.GetResourceVersion()
	patch, err := json.Marshal(append([]jsonPatch{{"test", "/metadata/resourceVersion", read}}, changes...))
	if err != nil {
		return fmt.Errorf("encoding a status: %w", err)
	}
	err = op.Status().Patch(ctx, object, client.RawPatch(types.JSONPatchType, patch))
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsInvalid(err): // the answer to a test that failed, and to a status that is not valid
		now, _ := object.DeepCopyObject().(client.Object)
		getErr := op.apiReader.Get(ctx, client.ObjectKeyFromObject(object), now)
		if apierrors.IsNotFound(getErr) || getErr == nil && now.GetResourceVersion() != read {
			return nil
		}
		return err
	case err != nil:
		return err
	}
	op.writer.echoes.add(objectOf(object), object.GetResourceVersion())
	op.recordConditionEvents(object, before, conditionsOf(object))
	return nil
}

// conditionsOf returns the conditions of an object of one of the kinds that users write.
func conditionsOf(object runtime.Object) []metav1.Condition {
	switch object := object.(type) {
	case *v1alpha1.AuthorizationServer:
		return object.Status.Conditions
	case *v1alpha1.OAuthClient:
		return object.Status.Conditions
	case *v1alpha1.OAuthUser:
		return object.Status.Conditions
	case *v1alpha1.OAuthIdentity:
		return object.Status.Conditions
	case *v1alpha1.ResourceServer:
		return object.Status.Conditions
	case *v1alpha1.IdentityProvider:
		return object.Status.Conditions
	}
	return nil
}

// statusOf returns a pointer to the status of an object of one of the kinds that users write.
func statusOf(object runtime.Object) any {
	switch object := object.(type) {
	case *v1alpha1.AuthorizationServer:
		return &object.Status
	case *v1alpha1.OAuthClient:
		return &object.Status
	case *v1alpha1.OAuthUser:
		return &object.Status
	case *v1alpha1.ResourceServer:
		return &object.Status
	case *v1alpha1.IdentityProvider:
		return &object.Status
	}
	return nil
}
