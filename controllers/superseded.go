package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// supersededAnnotation on a Secret or ConfigMap of a client says since when the client has another
// one in its place, or none, as in RFC 3339. Applying the object removes the annotation.
const supersededAnnotation = "internal.oauth-operator.dev/superseded-at"

// removeSuperseded deletes the objects of a kind that were made for a client and have names that it
// does not use any more, when an overlap has passed: Pods may mount them until they are replaced. It
// returns when the next one is due. It deletes nothing that was adopted or is to be retained, and
// nothing that has the name of an AuthorizationServer's Secret.
func (r *clientReconciler) removeSuperseded(
	ctx context.Context, c *v1alpha1.OAuthClient, kind string, inUse []string, overlap time.Duration,
) (next time.Time, err error) {
	objects, err := r.listOwned(ctx, c, kind)
	if err != nil {
		return time.Time{}, err
	}
	for i := range objects {
		m := &objects[i]
		if slices.Contains(inUse, m.Name) || metav1.GetControllerOfNoCopy(m) == nil || compile.IsReservedName(m.Name) {
			continue
		}
		if overlap > 0 {
			since, err := r.markSuperseded(ctx, m)
			if err != nil {
				return time.Time{}, err
			}
			if end := since.Add(overlap); end.After(r.now()) {
				next = earliest(next, end)
				continue
			}
		}
		if err := r.Delete(ctx, m, client.Preconditions{UID: &m.UID, ResourceVersion: &m.ResourceVersion}); client.IgnoreNotFound(err) != nil {
			return time.Time{}, err
		}
	}
	return next, nil
}

// markSuperseded returns since when an object is superseded, and writes it down if it is new.
func (r *clientReconciler) markSuperseded(ctx context.Context, m *metav1.PartialObjectMetadata) (time.Time, error) {
	if since, err := time.Parse(time.RFC3339, m.Annotations[supersededAnnotation]); err == nil {
		return since, nil
	}
	now := r.now().UTC().Truncate(time.Second)
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": m.ResourceVersion, "annotations": map[string]string{supersededAnnotation: now.Format(time.RFC3339)},
	}})
	if err != nil {
		return time.Time{}, err
	}
	err = r.Patch(ctx, m, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(FieldManager))
	return now, client.IgnoreNotFound(err)
}

// listOwned returns the metadata of the objects of a kind that were made for a client, or that it
// has adopted.
func (r *clientReconciler) listOwned(ctx context.Context, c *v1alpha1.OAuthClient, kind string) ([]metav1.PartialObjectMetadata, error) {
	list := metadataListOf(kind)
	if err := r.List(ctx, list, client.InNamespace(c.Namespace), client.MatchingFields{indexClientUID: string(c.UID)}); err != nil {
		return nil, fmt.Errorf("listing the %ss of an OAuthClient: %w", kind, err)
	}
	return list.Items, nil
}
