package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
)

// Annotations that name the OAuthClient to which an object without an ownerReference belongs,
// "<name>/<UID>". Such an object is not deleted with the client. adoptedAnnotation is on one that
// existed before, and retainedAnnotation on a Secret that the manager has made (deletionPolicy
// Retain).
const (
	adoptedAnnotation  = "internal.oauth-operator.dev/adopted-by"
	retainedAnnotation = "internal.oauth-operator.dev/retained-by"
)

// oauthClientOf returns the OAuthClient whose Secret or ConfigMap this is: the operator has made it
// for the client, or the client has adopted it. It returns nil if there is none. An ownerReference
// without "controller" does not count: a user may have a Secret of another program deleted with a
// client.
func oauthClientOf(m metav1.Object) *internalv1alpha1.Owner {
	if ref := metav1.GetControllerOfNoCopy(m); ref != nil {
		if !isClientReference(ref) {
			return nil
		}
		return &internalv1alpha1.Owner{Kind: compile.KindClient, Namespace: m.GetNamespace(), Name: ref.Name, UID: ref.UID}
	}
	return adopterOf(m)
}

// adopterOf returns the OAuthClient that one of the annotations names, or nil if there is none.
func adopterOf(m metav1.Object) *internalv1alpha1.Owner {
	for _, key := range []string{adoptedAnnotation, retainedAnnotation} {
		if name, uid, found := strings.Cut(m.GetAnnotations()[key], "/"); found {
			return &internalv1alpha1.Owner{Kind: compile.KindClient, Namespace: m.GetNamespace(), Name: name, UID: types.UID(uid)}
		}
	}
	return nil
}

// adopterValue returns the value of the annotations for an OAuthClient.
func adopterValue(c *v1alpha1.OAuthClient) string { return c.Name + "/" + string(c.UID) }

func isClientReference(ref *metav1.OwnerReference) bool {
	return ref.Kind == compile.KindClient && ref.APIVersion == v1alpha1.GroupVersion.String()
}

// describeOperatorSecret says which Secret or ConfigMap of the operator this is, as a predicate of
// it, or returns "" if it is none. No such object is used as a password, certificate, DSN, client
// secret or public key: else the author of an OAuthClient, who need not be permitted to write
// Secrets and ConfigMaps, could choose these.
func describeOperatorSecret(m metav1.Object) string {
	switch {
	case isReservedName(m.GetName()):
		return "belongs to an AuthorizationServer, by its name"
	case oauthClientOf(m) != nil, adopterOf(m) != nil, m.GetLabels()[workload.ManagedByLabel] == workload.ManagedBy:
		return "is written by the operator for an OAuthClient"
	}
	return ""
}

// findAdoptionProblem returns why a Secret or ConfigMap that is not the client's cannot be written
// for it. The condition is not set if it can: a user who may write the object has let the client
// adopt it.
func (r *clientReconciler) findAdoptionProblem(ctx context.Context, c *v1alpha1.OAuthClient, m *metav1.PartialObjectMetadata) (condition, error) {
	kind, reason, advice := m.Kind, v1alpha1.ReasonSecretExists, "choose another name in spec.secret.target.name"
	if kind == configMapKind {
		reason, advice = v1alpha1.ReasonConfigMapExists, "choose another name in spec.configMap.name"
	}
	owner := metav1.GetControllerOf(m)
	other, err := r.findOtherOwner(ctx, c, m)
	switch {
	case err != nil:
		return condition{}, err
	case owner != nil && isClientReference(owner) && owner.Name == c.Name && m.Annotations[v1alpha1.AdoptAnnotation] != c.Name:
		return pendingCondition("%s %q belongs to a deleted OAuthClient of this name: the manager waits until Kubernetes has deleted it too", kind, m.Name), nil
	case other != "":
		return falseCondition(reason, "%s %q exists, and %s owns it: %s", kind, m.Name, other, advice), nil
	case m.Annotations[v1alpha1.AdoptAnnotation] == c.Name:
		return condition{}, nil
	}
	return falseCondition(reason, "%s %q exists and is not this client's: delete it, or %s, or annotate it with %s=%s to let this client adopt it",
		kind, m.Name, advice, v1alpha1.AdoptAnnotation, c.Name), nil
}

// findOtherOwner returns kind and name of an object because of which a client must not adopt
// another, or "" if there is none: its controller, or an OAuthClient that still exists.
func (r *clientReconciler) findOtherOwner(ctx context.Context, c *v1alpha1.OAuthClient, m metav1.Object) (string, error) {
	var owners []internalv1alpha1.Owner
	for _, ref := range m.GetOwnerReferences() {
		switch {
		case isClientReference(&ref):
			owners = append(owners, internalv1alpha1.Owner{Kind: compile.KindClient, Namespace: c.Namespace, Name: ref.Name, UID: ref.UID})
		case ref.Controller != nil && *ref.Controller:
			return fmt.Sprintf("%s %q", ref.Kind, ref.Name), nil
		}
	}
	if adopter := adopterOf(m); adopter != nil {
		owners = append(owners, *adopter)
	}
	for _, owner := range owners {
		if owner.UID == c.UID {
			continue
		}
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
		if !isClientReference(&ref) || ref.UID == c.UID {
			references = append(references, ref)
		}
	}
	mark := adoptedAnnotation
	if isRetained(m) {
		mark = retainedAnnotation
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
	return m.GetAnnotations()[retainedAnnotation] != "" && m.GetLabels()[workload.ManagedByLabel] == workload.ManagedBy
}
