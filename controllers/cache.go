package controllers

import (
	"maps"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
)

// CacheOptions returns the options of a cache that holds what the controllers read and no more: of
// the kinds that token servers need the objects of the operator, no managedFields, and no kind that no
// controller watches. Of Secrets and ConfigMaps it holds the metadata, so that reading a whole one
// from the cache is an error, and of the metadata what the manager reads: kubectl apply leaves the
// content of an object in one of its annotations.
//
// The cache holds the objects of some namespaces, and Namespaces themselves; if none are named, it
// holds those of all.
func CacheOptions(namespaces []string) cache.Options {
	var watched map[string]cache.Config
	if len(namespaces) > 0 {
		watched = map[string]cache.Config{}
	}
	for _, name := range namespaces {
		watched[name] = cache.Config{}
	}
	ours := labels.SelectorFromSet(labels.Set{workload.ManagedByLabel: workload.ManagedBy})
	alike := &sharedByServer{alike: map[types.UID]metav1.ObjectMeta{}}
	return cache.Options{
		NewInformer:                 newInformer,
		DefaultTransform:            cache.TransformStripManagedFields(),
		ReaderFailOnMissingInformer: true,
		DefaultNamespaces:           watched,
		ByObject: map[client.Object]cache.ByObject{
			secretMetadata():                {Transform: stripMetadata},
			configMapMetadata():             {Transform: stripMetadata},
			&corev1.ServiceAccount{}:        {Label: ours},
			&rbacv1.RoleBinding{}:           {Label: ours},
			&appsv1.Deployment{}:            {Label: ours},
			&corev1.Service{}:               {Label: ours},
			&policyv1.PodDisruptionBudget{}: {Label: ours},
			&corev1.Pod{}:                   {Label: ours, Transform: stripPod},
			&v1alpha1.OAuthClient{}:         {Transform: stripClient},
			&v1alpha1.OAuthUser{}:           {Transform: stripUser},
			&v1alpha1.OAuthIdentity{}:       {Transform: stripIdentity},
			&internalv1alpha1.Entry{}:       {Transform: alike.stripEntry},
		},
	}
}

// stripLabels removes from the metadata of an object what no controller reads: its labels and
// annotations are its author's.
func stripLabels(o *metav1.ObjectMeta) {
	o.ManagedFields, o.Labels, o.Annotations = nil, nil, nil
}

func stripClient(object any) (any, error) {
	if c, ok := object.(*v1alpha1.OAuthClient); ok {
		stripLabels(&c.ObjectMeta)
		shareClient(c)
	}
	return object, nil
}

func stripUser(object any) (any, error) {
	if u, ok := object.(*v1alpha1.OAuthUser); ok {
		stripLabels(&u.ObjectMeta)
		shareKind(&u.TypeMeta)
		shareMetadata(&u.ObjectMeta)
		share(&u.Spec.ServerRef.Name)
		shareConditions(u.Status.Conditions)
	}
	return object, nil
}

// stripEntry leaves labels and annotations as they are: an Entry is updated as a whole.
func (s *sharedByServer) stripEntry(object any) (any, error) {
	if e, ok := object.(*internalv1alpha1.Entry); ok {
		e.ManagedFields = nil
		s.shareEntry(e)
	}
	return object, nil
}

// stripPod removes from a Pod all but its identity, its labels and its status.
func stripPod(object any) (any, error) {
	if pod, ok := object.(*corev1.Pod); ok {
		pod.ManagedFields, pod.Annotations, pod.Spec = nil, nil, corev1.PodSpec{}
	}
	return object, nil
}

// stripIdentity removes from an OAuthIdentity what a token server has recorded: the manager needs no
// claims of users, of whom there may be a hundred thousand.
func stripIdentity(object any) (any, error) {
	if o, ok := object.(*v1alpha1.OAuthIdentity); ok {
		stripLabels(&o.ObjectMeta)
		shareKind(&o.TypeMeta)
		shareMetadata(&o.ObjectMeta)
		o.Status = v1alpha1.OAuthIdentityStatus{ // the UID says that there is a status
			ServerUID: o.Status.ServerUID, ObservedGeneration: o.Status.ObservedGeneration, Conditions: o.Status.Conditions,
		}
	}
	return object, nil
}

// stripMetadata removes from the metadata of a Secret or ConfigMap all but its identity, its owners, and the
// operator's own labels and annotations.
func stripMetadata(object any) (any, error) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	m.ManagedFields, m.Finalizers, m.GenerateName = nil, nil, ""
	m.Labels = keep(m.Labels, func(key string) bool { return key == workload.ManagedByLabel || key == workload.KeysLabel })
	m.Annotations = keep(m.Annotations, func(key string) bool {
		prefix, _, _ := strings.Cut(key, "/")
		return prefix == v1alpha1.GroupVersion.Group || strings.HasSuffix(prefix, "."+v1alpha1.GroupVersion.Group)
	})
	shareKind(&m.TypeMeta)
	shareMetadata(&m.ObjectMeta)
	return m, nil
}

// managedLabels are the labels of nearly all Secrets and ConfigMaps that have any.
var managedLabels = map[string]string{workload.ManagedByLabel: workload.ManagedBy}

// keep returns those of the labels or annotations that the manager reads. A map that was made larger
// than it is takes as much memory as before.
func keep(all map[string]string, isRead func(key string) bool) map[string]string {
	var kept map[string]string
	for key, value := range all {
		if isRead(key) {
			if kept == nil {
				kept = map[string]string{}
			}
			share(&key)
			kept[key] = value
		}
	}
	if maps.Equal(kept, managedLabels) {
		return managedLabels
	}
	return kept
}
