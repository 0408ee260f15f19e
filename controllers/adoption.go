package controllers

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
)

// adopterValue returns the value of compile.AdoptedAnnotation and compile.RetainedAnnotation for an
// OAuthClient.
func adopterValue(c *v1alpha1.OAuthClient) string { return c.Name + "/" + string(c.UID) }

// findAdoptionProblem returns why a Secret or ConfigMap that is not the client's cannot be written
// for it. The condition is not set if it can: a user who may write the object has let the client
// adopt it.
func (r *clientReconciler) findAdoptionProblem(ctx context.Context, c *v1alpha1.OAuthClient, m *metav1.PartialObjectMetadata) (condition, error) {
	other, err := r.findOtherOwner(ctx, c, m)
	if err != nil {
		return condition{}, err
	}
	return problemCondition(compile.AdoptionProblem(c, m.Kind, m, other)), nil
}

// findOtherOwner returns kind and name of an object because of which a client must not adopt
// another, or "" if there is none: its controller, or an OAuthClient that still exists.
func (r *clientReconciler) findOtherOwner(ctx context.Context, c *v1alpha1.OAuthClient, m metav1.Object) (string, error) {
	owners, controller := compile.OtherOwners(c, m)
	if controller != "" {
		return controller, nil
	}
	for _, owner := range owners {
		gone, err := r.entries.IsOwnerGone(ctx, owner)
		if err != nil {
			return "", err
		}
		if !gone {
			return fmt.Sprintf("OAuthClient %q", owner.Name), nil
		}
	}
	return "", nil
}

// adopt makes an object with the adopt annotation the client's own, in the version that was read. It
// removes the annotation, so that a later client of this name cannot adopt the object without a new
// one; and references to OAuthClients that do not exist, with which the garbage collector would
// delete it. Other references stay. A Secret that was retained for the client is as if the manager
// had made it for this one.
func (r *clientReconciler) adopt(ctx context.Context, c *v1alpha1.OAuthClient, m *metav1.PartialObjectMetadata) error {
	var references []metav1.OwnerReference
	for _, ref := range m.OwnerReferences {
		if !compile.IsClientReference(&ref) || ref.UID == c.UID {
			references = append(references, ref)
		}
	}
	mark := compile.AdoptedAnnotation
	if isRetained(m) {
		mark = compile.RetainedAnnotation
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": m.ResourceVersion, "ownerReferences": references,
		"annotations": map[string]any{v1alpha1.AdoptAnnotation: nil, supersededAnnotation: nil, mark: adopterValue(c)},
	}})
	if err != nil {
		return err
	}
	return r.Patch(ctx, m, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(FieldManager))
}

// isRetained reports whether the manager has made a Secret that is not deleted with its client.
func isRetained(m metav1.Object) bool {
	return m.GetAnnotations()[compile.RetainedAnnotation] != "" && m.GetLabels()[workload.ManagedByLabel] == workload.ManagedBy
}
