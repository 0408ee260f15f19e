package controllers

import (
	"context"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
)

// retryName is how often the manager looks whether a name is free that another object has.
const retryName = 30 * time.Second

// workloadObject is one that a server needs: as it is to be, and where to read what there is.
type workloadObject struct {
	want, have client.Object
}

// ensureWorkload keeps the identity of the token server and, with deployment type Managed, what it runs
// in. One object that cannot be had ends it: a Deployment must not use a ServiceAccount that is
// another's.
func (r *serverReconciler) ensureWorkload(ctx context.Context, s *serverPass) error {
	if !s.accepted.isTrue() {
		return nil
	}
	objects := []workloadObject{
		{workload.ServiceAccount(s.server), &corev1.ServiceAccount{}},
		{workload.RoleBinding(s.server), &rbacv1.RoleBinding{}},
	}
	forbidden, err := r.findForbiddenMount(ctx, s.server)
	if err != nil {
		return err
	}
	if workload.IsManaged(s.server) && !forbidden.isSet() {
		managed, err := r.managedObjects(ctx, s.server)
		if err != nil {
			return err
		}
		objects = append(objects, managed...)
	}
	for _, o := range objects {
		v, err := r.keep(ctx, s.server, o)
		if err != nil {
			return err
		}
		if v.isSet() {
			s.deployed = v
			s.requeueAt = earliest(s.requeueAt, r.now().Add(retryName)) // the cache has our own objects only
			return nil
		}
	}
	switch {
	case !workload.IsManaged(s.server):
		return r.leaveToOthers(ctx, s)
	case forbidden.isSet():
		s.deployed = forbidden
		return nil
	}
	if workload.PodDisruptionBudget(s.server) == nil {
		if err := r.remove(ctx, s.server, &policyv1.PodDisruptionBudget{}); err != nil {
			return err
		}
	}
	return r.observeDeployment(ctx, s, objects[len(objects)-1].want)
}

// findForbiddenMount says which of the Secrets that Pods would mount was not made for that. What the
// operator wrote for an OAuthClient is the choice of the client's author, and so would be the
// certificate, or the database in which all grants are.
func (r *serverReconciler) findForbiddenMount(ctx context.Context, server *v1alpha1.AuthorizationServer) (condition, error) {
	for _, name := range workload.MountedSecrets(server) {
		key, m := client.ObjectKey{Namespace: server.Namespace, Name: name}, secretMetadata()
		err := r.Get(ctx, key, m)
		if apierrors.IsNotFound(err) { // the cache may not have it yet
			err = r.apiReader.Get(ctx, key, m)
		}
		if client.IgnoreNotFound(err) != nil {
			return condition{}, err
		}
		m.SetName(name)
		if own := compile.DescribeOperatorSecret(m); own != "" {
			return falseCondition(v1alpha1.ReasonInvalid, "Secret %q %s, so no token server mounts it: what was deployed before stays until the server names another", name, own), nil
		}
	}
	return condition{}, nil
}

// managedObjects are what the operator runs a token server in; the Deployment is the last.
func (r *serverReconciler) managedObjects(ctx context.Context, server *v1alpha1.AuthorizationServer) ([]workloadObject, error) {
	deployment, service := workload.Deployment(server, r.image), workload.Service(server)
	workload.SetVariables(deployment, r.variables)
	if err := workload.SetApplied(deployment); err != nil {
		return nil, err
	}
	var rolledOut appsv1.Deployment
	if err := r.Get(ctx, workloadKey(server), &rolledOut); client.IgnoreNotFound(err) != nil {
		return nil, err
	}
	applied, err := r.isApplied(deployment, &rolledOut)
	if err != nil {
		return nil, err
	}
	if !applied || !rollout(&rolledOut).isTrue() {
		var have corev1.Service
		if err := r.Get(ctx, workloadKey(server), &have); client.IgnoreNotFound(err) != nil {
			return nil, err
		}
		workload.KeepPort(service, &have)
	}
	objects := []workloadObject{{service, &corev1.Service{}}}
	if budget := workload.PodDisruptionBudget(server); budget != nil {
		objects = append(objects, workloadObject{budget, &policyv1.PodDisruptionBudget{}})
	}
	return append(objects, workloadObject{deployment, &appsv1.Deployment{}}), nil
}

// appliedVersion is an object as the operator has applied it.
type appliedVersion struct {
	hash    string // of what was applied
	version string // the resourceVersion that the API server gave it
}

// appliedVersions has the last of each kind; the objects of a server have one name.
func (r *serverReconciler) appliedVersions(name client.ObjectKey) map[string]appliedVersion {
	versions, _ := r.applied.LoadOrStore(name, map[string]appliedVersion{})
	return versions.(map[string]appliedVersion) //nolint:forcetypeassert // it has no others
}

// apply applies an object, and remembers as which version it is there.
func (r *serverReconciler) apply(ctx context.Context, want client.Object) error {
	if err := r.writer.applyObject(ctx, want); err != nil {
		return err
	}
	r.appliedVersions(client.ObjectKeyFromObject(want))[want.GetObjectKind().GroupVersionKind().Kind] = appliedVersion{
		want.GetAnnotations()[workload.AppliedAnnotation], want.GetResourceVersion(),
	}
	return nil
}

// isApplied reports whether an object is as it was applied, or is what admission webhooks have made
// of it: if it were applied again, it would become the same, and so on for ever.
func (r *serverReconciler) isApplied(want, have client.Object) (bool, error) {
	last := r.appliedVersions(client.ObjectKeyFromObject(want))[want.GetObjectKind().GroupVersionKind().Kind]
	if last.version != "" && last == (appliedVersion{want.GetAnnotations()[workload.AppliedAnnotation], have.GetResourceVersion()}) {
		return true, nil
	}
	return workload.IsApplied(want, have)
}

// keep has an object exist as it is to be. One of its name that is not the operator's is left as it
// is, which the condition says; one that is not set means that the object is there.
func (r *serverReconciler) keep(ctx context.Context, server *v1alpha1.AuthorizationServer, o workloadObject) (condition, error) {
	if err := workload.SetApplied(o.want); err != nil {
		return condition{}, err
	}
	cached := o.have.DeepCopyObject().(client.Object) //nolint:forcetypeassert // a copy has the type of what it copies
	err := r.Get(ctx, client.ObjectKeyFromObject(o.want), cached)
	if client.IgnoreNotFound(err) != nil {
		return condition{}, err
	}
	if err == nil {
		if applied, err := r.isApplied(o.want, cached); applied || err != nil {
			return condition{}, err
		}
	}
	// The cache has only what is labeled as the operator's, so what it does not know may be there.
	err = r.apiReader.Get(ctx, client.ObjectKeyFromObject(o.want), o.have)
	if apierrors.IsNotFound(err) {
		// Not by Create, which would own the fields apart from what is applied later: they would stay for ever.
		return condition{}, r.apply(ctx, o.want)
	}
	if err != nil {
		return condition{}, err
	}
	if v := owned(server, o); v.isSet() {
		return v, nil
	}
	uid, version := o.have.GetUID(), o.have.GetResourceVersion()
	if binding, ok := o.have.(*rbacv1.RoleBinding); ok && binding.RoleRef != o.want.(*rbacv1.RoleBinding).RoleRef { // which is immutable
		if err := r.Delete(ctx, o.have, client.Preconditions{UID: &uid, ResourceVersion: &version}); err != nil {
			return condition{}, err
		}
		return condition{}, r.apply(ctx, o.want)
	}
	o.want.SetResourceVersion(version)
	return condition{}, r.apply(ctx, o.want)
}

// owned says why an object of the needed name is not the server's; not set: it is.
func owned(server *v1alpha1.AuthorizationServer, o workloadObject) condition {
	kind, name := o.want.GetObjectKind().GroupVersionKind().Kind, o.want.GetName()
	if owner := metav1.GetControllerOfNoCopy(o.have); owner != nil && formerServer(server, owner) {
		return pendingCondition("%s %q belongs to an AuthorizationServer of this name that was deleted; waiting until it is removed too", kind, name)
	}
	if !mayKeep(server, o.have) {
		return falseCondition(v1alpha1.ReasonNameTaken, "%s %q exists and is not the operator's: remove it, or create the AuthorizationServer under another name", kind, name)
	}
	return condition{}
}

// formerServer reports whether an owner is an AuthorizationServer that had the server's name before
// it: the garbage collector removes what that one owned.
func formerServer(server *v1alpha1.AuthorizationServer, owner *metav1.OwnerReference) bool {
	return owner.Kind == compile.KindServer && owner.APIVersion == v1alpha1.GroupVersion.String() && owner.Name == server.Name && owner.UID != server.UID
}

// mayKeep reports whether an object of the needed name is the operator's: the server controls it,
// or nothing does and it has all of the labels, as when a server was deleted without what it owns,
// or restored from a backup.
func mayKeep(server *v1alpha1.AuthorizationServer, there metav1.Object) bool {
	if owner := metav1.GetControllerOfNoCopy(there); owner != nil {
		return owner.UID == server.UID
	}
	for key, value := range workload.Labels(server.Name) {
		if there.GetLabels()[key] != value {
			return false
		}
	}
	return true
}

// remove removes an object of the server's that it does not need any more.
func (r *serverReconciler) remove(ctx context.Context, server *v1alpha1.AuthorizationServer, object client.Object) error {
	err := r.Get(ctx, workloadKey(server), object)
	if apierrors.IsNotFound(err) || err == nil && (!metav1.IsControlledBy(object, server) || !object.GetDeletionTimestamp().IsZero()) {
		return nil
	}
	if err != nil {
		return err
	}
	uid := object.GetUID()
	return client.IgnoreNotFound(r.Delete(ctx, object, client.Preconditions{UID: &uid}))
}

// leaveToOthers removes what the operator ran the token server in, once a token server is ready that
// the operator does not run.
func (r *serverReconciler) leaveToOthers(ctx context.Context, s *serverPass) error {
	s.deployed = trueCondition(v1alpha1.ReasonDeployed, "ServiceAccount and RoleBinding are there; spec.deployment.type is External, so the operator does not run the token server")
	s.podCount = 0
	var d appsv1.Deployment
	err := r.Get(ctx, workloadKey(s.server), &d)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if err == nil && metav1.IsControlledBy(&d, s.server) {
		if s.replicas, err = r.confirmLiveReplicas(ctx, s.server); err != nil {
			return err
		}
		if !isRunByOthers(s.replicas, d.Name) {
			s.podCount = d.Status.Replicas
			s.deployed.message += "; Deployment, Service and PodDisruptionBudget of the operator stay until a token server is ready whose name does not begin with " + d.Name + "-"
			return nil
		}
	}
	for _, object := range []client.Object{&appsv1.Deployment{}, &corev1.Service{}, &policyv1.PodDisruptionBudget{}} {
		if err := r.remove(ctx, s.server, object); err != nil {
			return err
		}
	}
	return nil
}

// isRunByOthers reports whether a token server is ready that is no Pod of the Deployment.
func isRunByOthers(live []replica, deployment string) bool {
	for i := range live {
		if r := &live[i]; r.renewed && r.Spec.Ready && !strings.HasPrefix(r.Name, deployment+"-") {
			return true
		}
	}
	return false
}

func workloadKey(server *v1alpha1.AuthorizationServer) client.ObjectKey {
	return client.ObjectKey{Namespace: server.Namespace, Name: workload.ServiceAccountName(server.Name)}
}
