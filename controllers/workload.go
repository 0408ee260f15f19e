package controllers

import (
	"context"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// retryName is how often the manager looks whether a name is free that another object has.
const retryName = 30 * time.Second

// workloadObject is one that a server needs: as it is to be, and where to read what there is.
type workloadObject struct {
	want, have client.Object
	// same reports whether have is as it is to be but for its metadata, replace whether it cannot
	// be changed to that.
	same, replace func(have client.Object) bool
}

// keep has an object exist as it is to be. One of its name that is not the operator's is left as it
// is, which taken says.
func (r *serverReconciler) keep(ctx context.Context, server *v1alpha1.AuthorizationServer, o workloadObject) (taken condition, err error) {
	cached := o.have.DeepCopyObject().(client.Object) //nolint:forcetypeassert // a copy has the type of what it copies
	err = r.Get(ctx, client.ObjectKeyFromObject(o.want), cached)
	if client.IgnoreNotFound(err) != nil {
		return condition{}, err
	}
	if err == nil && o.same(cached) && sameMetadata(o.want, cached) {
		return condition{}, nil
	}
	// The cache has only what is labeled as the operator's, so what it does not know may be there.
	err = r.apiReader.Get(ctx, client.ObjectKeyFromObject(o.want), o.have)
	if apierrors.IsNotFound(err) {
		return condition{}, r.Create(ctx, o.want, client.FieldOwner(FieldManager))
	}
	if err != nil {
		return condition{}, err
	}
	if owner := metav1.GetControllerOfNoCopy(o.have); owner != nil && formerServer(server, owner) {
		return pendingCondition("%s %q belongs to an AuthorizationServer of this name that was deleted; waiting until it is removed too",
			o.want.GetObjectKind().GroupVersionKind().Kind, o.want.GetName()), nil
	}
	if !mayKeep(server, o.want, o.have) {
		return falseCondition(v1alpha1.ReasonNameTaken, "%s %q exists and is not the operator's: remove it, or create the AuthorizationServer under another name",
			o.want.GetObjectKind().GroupVersionKind().Kind, o.want.GetName()), nil
	}
	uid, version := o.have.GetUID(), o.have.GetResourceVersion()
	if !o.replace(o.have) {
		o.want.SetResourceVersion(version)
		return condition{}, r.writer.applyObject(ctx, o.want)
	}
	if err := r.Delete(ctx, o.have, client.Preconditions{UID: &uid, ResourceVersion: &version}); err != nil {
		return condition{}, err
	}
	return condition{}, r.Create(ctx, o.want, client.FieldOwner(FieldManager))
}

// formerServer reports whether an owner is an AuthorizationServer that had the server's name before
// it: the garbage collector removes what that one owned.
func formerServer(server *v1alpha1.AuthorizationServer, owner *metav1.OwnerReference) bool {
	return owner.Kind == kindServer && owner.APIVersion == v1alpha1.GroupVersion.String() && owner.Name == server.Name && owner.UID != server.UID
}

// mayKeep reports whether an object of the needed name is the operator's: the server controls it,
// or nothing does and it has all of the labels, as when a server was deleted without what it owns,
// or restored from a backup.
func mayKeep(server *v1alpha1.AuthorizationServer, want client.Object, there metav1.Object) bool {
	if owner := metav1.GetControllerOfNoCopy(there); owner != nil {
		return owner.UID == server.UID
	}
	for key, value := range want.GetLabels() {
		if there.GetLabels()[key] != value {
			return false
		}
	}
	return true
}

func sameMetadata(want, have client.Object) bool {
	for key, value := range want.GetLabels() {
		if have.GetLabels()[key] != value {
			return false
		}
	}
	return slices.ContainsFunc(have.GetOwnerReferences(), func(ref metav1.OwnerReference) bool { return ref.UID == want.GetOwnerReferences()[0].UID })
}
