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
	"github.com/oauth-operator/oauth-operator/controllers/workload"
)

// adoptedAnnotation on a Secret names the OAuthClient that has adopted it, "<name>/<UID>". An
// adopted Secret has no ownerReference to its client: it was there before, and is not deleted with
// it.
const adoptedAnnotation = "internal.oauth-operator.dev/adopted-by"

// oauthClientOf is the OAuthClient whose Secret this is: the operator made the Secret for it, or it
// has adopted the Secret. Nil if there is none. An ownerReference that does not say "controller"
// does not count: others may let a Secret of their own go with a client by one.
func oauthClientOf(m metav1.Object) *internalv1alpha1.Owner {
	if ref := metav1.GetControllerOfNoCopy(m); ref != nil {
		if !isClient(ref) {
			return nil
		}
		return &internalv1alpha1.Owner{Kind: kindClient, Namespace: m.GetNamespace(), Name: ref.Name, UID: ref.UID}
	}
	return adopterOf(m)
}

// adopterOf is the OAuthClient that the annotation names; nil if there is none.
func adopterOf(m metav1.Object) *internalv1alpha1.Owner {
	name, uid, found := strings.Cut(m.GetAnnotations()[adoptedAnnotation], "/")
	if !found {
		return nil
	}
	return &internalv1alpha1.Owner{Kind: kindClient, Namespace: m.GetNamespace(), Name: name, UID: types.UID(uid)}
}

func adoptedBy(c *v1alpha1.OAuthClient) string { return c.Name + "/" + string(c.UID) }

func isClient(ref *metav1.OwnerReference) bool {
	return ref.Kind == kindClient && ref.APIVersion == v1alpha1.GroupVersion.String()
}

// operatorsOwn says which Secret of the operator's own this is; empty: it is none. What the
// operator wrote is never read as a source: the author of an OAuthClient, who may be permitted to
// write no Secret, would decide by it what others take for a password, a key or a DSN.
func operatorsOwn(m metav1.Object) string {
	switch {
	case reservedName(m.GetName()):
		return "is an AuthorizationServer's, by its name"
	case oauthClientOf(m) != nil, adopterOf(m) != nil, m.GetLabels()[workload.ManagedByLabel] == workload.ManagedBy:
		return "is written by the operator for an OAuthClient"
	}
	return ""
}

// inTheWay says why a client may not adopt a Secret that is marked for it: another object owns it.
// Empty: it may. An OAuthClient that does not exist any more owns nothing.
func (r *clientReconciler) inTheWay(ctx context.Context, c *v1alpha1.OAuthClient, m metav1.Object) (string, error) {
	var owners []internalv1alpha1.Owner
	for _, ref := range m.GetOwnerReferences() {
		switch {
		case isClient(&ref):
			owners = append(owners, internalv1alpha1.Owner{Kind: kindClient, Namespace: c.Namespace, Name: ref.Name, UID: ref.UID})
		case ref.Controller != nil && *ref.Controller:
			return fmt.Sprintf("%s %q owns it", ref.Kind, ref.Name), nil
		}
	}
	if adopter := adopterOf(m); adopter != nil {
		owners = append(owners, *adopter)
	}
	for _, owner := range owners {
		if owner.UID == c.UID {
			continue
		}
		gone, err := r.isOwnerGone(ctx, owner)
		if err != nil {
			return "", err
		}
		if !gone {
			return fmt.Sprintf("OAuthClient %q owns it", owner.Name), nil
		}
	}
	return "", nil
}

// adopt makes a Secret that is marked for the client its own, in the version that was seen. The
// mark goes: a later client of this name has to be allowed anew. So do references to OAuthClients
// that do not exist any more, for which the garbage collector would delete the Secret; others'
// stay.
func (r *clientReconciler) adopt(ctx context.Context, c *v1alpha1.OAuthClient, m *metav1.PartialObjectMetadata) error {
	secret, err := r.readSecret(ctx, client.ObjectKeyFromObject(m))
	if err != nil {
		return err
	}
	secret.ResourceVersion = m.ResourceVersion
	var references []metav1.OwnerReference
	for _, ref := range secret.OwnerReferences {
		if !isClient(&ref) || ref.UID == c.UID {
			references = append(references, ref)
		}
	}
	secret.OwnerReferences = references
	delete(secret.Annotations, v1alpha1.AdoptAnnotation)
	secret.Annotations[adoptedAnnotation] = adoptedBy(c)
	if err := r.Update(ctx, secret, client.FieldOwner(FieldManager)); err != nil {
		return err
	}
	m.ResourceVersion = secret.ResourceVersion
	return nil
}
