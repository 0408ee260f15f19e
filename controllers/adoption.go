package controllers

import (
	"context"
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

// adoptedAnnotation on a Secret names the OAuthClient that has adopted it, "<name>/<UID>". An
// adopted Secret has no ownerReference to its client, so that it is not deleted with it.
const adoptedAnnotation = "internal.oauth-operator.dev/adopted-by"

// oauthClientOf returns the OAuthClient whose Secret this is: the operator has made the Secret for
// it, or it has adopted the Secret. It returns nil if there is none. An ownerReference without
// "controller" does not count: a user may have a Secret of another program deleted with a client.
func oauthClientOf(m metav1.Object) *internalv1alpha1.Owner {
	if ref := metav1.GetControllerOfNoCopy(m); ref != nil {
		if !isClientReference(ref) {
			return nil
		}
		return &internalv1alpha1.Owner{Kind: compile.KindClient, Namespace: m.GetNamespace(), Name: ref.Name, UID: ref.UID}
	}
	return adopterOf(m)
}

// adopterOf returns the OAuthClient that the annotation names, or nil if there is none.
func adopterOf(m metav1.Object) *internalv1alpha1.Owner {
	name, uid, found := strings.Cut(m.GetAnnotations()[adoptedAnnotation], "/")
	if !found {
		return nil
	}
	return &internalv1alpha1.Owner{Kind: compile.KindClient, Namespace: m.GetNamespace(), Name: name, UID: types.UID(uid)}
}

// adopterValue returns the value of the annotation for an OAuthClient.
func adopterValue(c *v1alpha1.OAuthClient) string { return c.Name + "/" + string(c.UID) }

func isClientReference(ref *metav1.OwnerReference) bool {
	return ref.Kind == compile.KindClient && ref.APIVersion == v1alpha1.GroupVersion.String()
}

// describeOperatorSecret says which Secret of the operator this is, as a predicate of it, or returns
// "" if it is none. No such Secret is used as a password, certificate, DSN or client secret: else
// the author of an OAuthClient, who need not be permitted to write Secrets, could choose these.
func describeOperatorSecret(m metav1.Object) string {
	switch {
	case isReservedName(m.GetName()):
		return "belongs to an AuthorizationServer, by its name"
	case oauthClientOf(m) != nil, adopterOf(m) != nil, m.GetLabels()[workload.ManagedByLabel] == workload.ManagedBy:
		return "is written by the operator for an OAuthClient"
	}
	return ""
}

// findAdoptionProblem returns why a Secret that is not the client's cannot be its target. The
// condition is not set if it can: a user who may write the Secret has let the client adopt it.
func (r *clientReconciler) findAdoptionProblem(ctx context.Context, c *v1alpha1.OAuthClient, m *metav1.PartialObjectMetadata) (condition, error) {
	const advice = "choose another name in spec.secret.target.name"
	owner := metav1.GetControllerOf(m)
	other, err := r.findOtherOwner(ctx, c, m)
	switch {
	case err != nil:
		return condition{}, err
	case owner != nil && isClientReference(owner) && owner.Name == c.Name && m.Annotations[v1alpha1.AdoptAnnotation] != c.Name:
		return pendingCondition("Secret %q belongs to a deleted OAuthClient of this name: the manager waits until Kubernetes has deleted the Secret too", m.Name), nil
	case other != "":
		return falseCondition(v1alpha1.ReasonSecretExists, "Secret %q exists, and %s owns it: %s", m.Name, other, advice), nil
	case m.Annotations[v1alpha1.AdoptAnnotation] == c.Name:
		return condition{}, nil
	}
	return falseCondition(v1alpha1.ReasonSecretExists, "Secret %q exists and is not this client's: delete it, or %s, or annotate it with %s=%s to let this client adopt it",
		m.Name, advice, v1alpha1.AdoptAnnotation, c.Name), nil
}

// findOtherOwner returns kind and name of an object because of which a client must not adopt a
// Secret, or "" if there is none: its controller, or an OAuthClient that still exists.
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

// adopt makes a Secret with the adopt annotation the client's own, in the version that was read. It
// removes the annotation, so that a later client of this name cannot adopt the Secret without a new
// one; and references to OAuthClients that do not exist, with which the garbage collector would
// delete the Secret. Other references stay.
func (r *clientReconciler) adopt(ctx context.Context, c *v1alpha1.OAuthClient, m *metav1.PartialObjectMetadata) error {
	secret, err := r.readSecret(ctx, client.ObjectKeyFromObject(m))
	if err != nil {
		return err
	}
	secret.ResourceVersion = m.ResourceVersion
	var references []metav1.OwnerReference
	for _, ref := range secret.OwnerReferences {
		if !isClientReference(&ref) || ref.UID == c.UID {
			references = append(references, ref)
		}
	}
	secret.OwnerReferences = references
	delete(secret.Annotations, v1alpha1.AdoptAnnotation)
	secret.Annotations[adoptedAnnotation] = adopterValue(c)
	if err := r.Update(ctx, secret, client.FieldOwner(FieldManager)); err != nil {
		return err
	}
	m.ResourceVersion = secret.ResourceVersion
	return nil
}
