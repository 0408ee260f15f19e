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
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
)

// CacheOptions returns the options of a cache that holds what the controllers read and no more: of
// the kinds that token servers need the objects of the operator, no managedFields, and no kind that no
// controller watches. Of Secrets and ConfigMaps it holds the metadata, so that reading a whole one
// from the cache is an error, and of the metadata what the manager reads: kubectl apply leaves the
// content of a Secret in one of its annotations.
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
			&v1alpha1.OAuthIdentity{}:       {Transform: stripIdentity},
		},
	}
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
		o.ManagedFields, o.Annotations = nil, nil
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
	maps.DeleteFunc(m.Labels, func(key, _ string) bool { return key != workload.ManagedByLabel && key != workload.KeysLabel })
	maps.DeleteFunc(m.Annotations, func(key, _ string) bool {
		prefix, _, _ := strings.Cut(key, "/")
		return prefix != v1alpha1.GroupVersion.Group && !strings.HasSuffix(prefix, "."+v1alpha1.GroupVersion.Group)
	})
	return m, nil
}
