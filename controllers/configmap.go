package controllers

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
)

// repairInterval is how long an edit of a client's ConfigMap or Secret by another program stays if
// the one before was undone just now: a program that insists is not answered in a loop.
const repairInterval = 10 * time.Second

// rootCAName is the ConfigMap that Kubernetes keeps in every namespace. The API server refuses the
// name in OAuthClients too.
const rootCAName = "kube-root-ca.crt"

// seenConfigMap is the ConfigMap of a client when it was last seen to be right.
type seenConfigMap struct {
	client     types.UID
	version    secretVersion
	content    string    // the hash of what it should hold
	repairedAt time.Time // when another program's edit was last undone
}

// seenConfigMaps are the ConfigMaps of clients, by the name of the client. One that is still in the
// version that was seen need not be read again. A manager that starts reads each once.
type seenConfigMaps struct{ byClient sync.Map }

func (m *seenConfigMaps) get(c *v1alpha1.OAuthClient) seenConfigMap {
	found, _ := m.byClient.Load(client.ObjectKeyFromObject(c))
	if seen, _ := found.(seenConfigMap); seen.client == c.UID {
		return seen
	}
	return seenConfigMap{client: c.UID}
}

func (m *seenConfigMaps) set(c *v1alpha1.OAuthClient, seen seenConfigMap) {
	m.byClient.Store(client.ObjectKeyFromObject(c), seen)
}

func (m *seenConfigMaps) forget(name types.NamespacedName) { m.byClient.Delete(name) }

// keepConfigMap keeps the ConfigMap of a client, and removes those that it had under other names.
func (r *clientReconciler) keepConfigMap(ctx context.Context, s *clientPass) error {
	if !s.isServed() {
		return nil
	}
	var inUse []string
	if spec := s.client.Spec.ConfigMap; spec != nil {
		problem, err := r.ensureConfigMap(ctx, s, spec)
		if err != nil {
			return err
		}
		if problem.isSet() {
			s.configMap = problem
			return nil
		}
		inUse = []string{spec.Name}
	} else {
		r.configMaps.forget(client.ObjectKeyFromObject(s.client))
	}
	overlap := compile.Overlap(s.client)
	if len(inUse) == 0 { // the field was removed, and not renamed
		overlap = 0
	}
	next, err := r.removeSuperseded(ctx, s.client, configMapKind, inUse, overlap)
	s.requeueAt = earliest(s.requeueAt, next)
	return err
}

// ensureConfigMap writes the ConfigMap of a client if it is not as it should be. problem says why it
// must not be written, if so.
func (r *clientReconciler) ensureConfigMap(ctx context.Context, s *clientPass, spec *v1alpha1.ConfigMapTarget) (problem condition, err error) {
	data, findings := compile.ConfigMapData(s.client, s.document, s.server.document.Issuer)
	switch {
	case len(findings) > 0:
		return invalidCondition("%s", findings), nil
	case spec.Name == rootCAName:
		return invalidCondition("spec.configMap.name: the ConfigMap %s belongs to Kubernetes: choose another name", rootCAName), nil
	}
	wanted := newConfigMap(s.client, spec, data)
	m := configMapMetadata()
	if err := r.Get(ctx, client.ObjectKeyFromObject(wanted), m); err != nil {
		if !apierrors.IsNotFound(err) {
			return condition{}, err
		}
		err = r.Create(ctx, wanted, client.FieldOwner(FieldManager))
		if err == nil {
			r.recordConfigMap(s.client, wanted, time.Time{})
		}
		return condition{}, err
	}
	owner := compile.OAuthClientOf(m)
	isOwn := owner != nil && owner.UID == s.client.UID
	if !isOwn {
		if problem, err := r.findAdoptionProblem(ctx, s.client, m); err != nil || problem.isSet() {
			return problem, err
		}
	}
	if !isOwn || metav1.GetControllerOfNoCopy(m) == nil { // a user has made it
		disown(wanted, s.client)
	}
	return condition{}, r.updateConfigMap(ctx, s, m, isOwn, wanted)
}

// updateConfigMap applies the ConfigMap, unless it is as it should be or was repaired just now.
func (r *clientReconciler) updateConfigMap(ctx context.Context, s *clientPass, m *metav1.PartialObjectMetadata, isOwn bool, wanted *corev1.ConfigMap) error {
	seen, content := r.configMaps.get(s.client), wanted.Annotations[contentAnnotation]
	var repairedAt time.Time
	if isOwn {
		if seen.version == versionOf(m, "") && seen.content == content {
			return nil
		}
		current, err := r.readConfigMap(ctx, m)
		if err != nil {
			return err
		}
		if holds(current, wanted) {
			r.recordConfigMap(s.client, current, seen.repairedAt)
			return nil
		}
		if seen.content == content { // the spec asks for what it asked before
			repairedAt = r.now()
			if next := seen.repairedAt.Add(repairInterval); next.After(repairedAt) {
				s.requeueAt = earliest(s.requeueAt, next)
				return nil
			}
		}
	}
	if err := r.applyOnto(ctx, s.client, m, isOwn, wanted); err != nil {
		return err
	}
	r.recordConfigMap(s.client, wanted, repairedAt)
	return nil
}

// recordConfigMap records that the ConfigMap of a client is right.
func (r *clientReconciler) recordConfigMap(c *v1alpha1.OAuthClient, m *corev1.ConfigMap, repairedAt time.Time) {
	r.configMaps.set(c, seenConfigMap{client: c.UID, version: versionOf(m, ""), content: m.Annotations[contentAnnotation], repairedAt: repairedAt})
}

// readConfigMap reads a whole ConfigMap from the API server, in the version that the cache has.
func (r *clientReconciler) readConfigMap(ctx context.Context, m *metav1.PartialObjectMetadata) (*corev1.ConfigMap, error) {
	var current corev1.ConfigMap
	if err := r.apiReader.Get(ctx, client.ObjectKeyFromObject(m), &current); err != nil {
		return nil, err
	}
	if current.ResourceVersion != m.ResourceVersion {
		return nil, newChangedError(m)
	}
	return &current, nil
}

// newConfigMap returns the whole ConfigMap of a client.
func newConfigMap(c *v1alpha1.OAuthClient, spec *v1alpha1.ConfigMapTarget, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.Namespace, Name: spec.Name,
			Labels:          map[string]string{workload.ManagedByLabel: workload.ManagedBy},
			Annotations:     map[string]string{contentAnnotation: targetContent{data: data}.hash()},
			OwnerReferences: []metav1.OwnerReference{controllerReference(c)},
		},
		Data: data,
	}
}

// disown makes the ConfigMap one that a user has made and the client has adopted: it is not deleted
// with the client.
func disown(m *corev1.ConfigMap, c *v1alpha1.OAuthClient) {
	m.OwnerReferences, m.Labels = nil, nil
	m.Annotations[compile.AdoptedAnnotation] = adopterValue(c)
}

// holds reports whether a ConfigMap has all that is to be applied to it, and is not superseded.
func holds(current, wanted *corev1.ConfigMap) bool {
	return includes(current.Data, wanted.Data) && includes(current.Labels, wanted.Labels) &&
		includes(current.Annotations, wanted.Annotations) && current.Annotations[supersededAnnotation] == ""
}

func includes(all, some map[string]string) bool {
	for key, value := range some {
		if present, has := all[key]; !has || present != value {
			return false
		}
	}
	return true
}
