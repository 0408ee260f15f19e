package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// readConfigMapKey reads a key of a ConfigMap. It looks up the metadata in the cache, and returns no
// value if they are of the known version; else it reads the content from the API server. problem
// says why there is no value.
func (op *operator) readConfigMapKey(
	ctx context.Context, namespace string, ref v1alpha1.ConfigMapKeyReference, field string, known secretVersion,
) (version secretVersion, value string, problem condition, err error) {
	key, m, found := client.ObjectKey{Namespace: namespace, Name: ref.Name}, configMapMetadata(), corev1.ConfigMap{}
	err = op.Get(ctx, key, m)
	if err == nil {
		if own := compile.DescribeOperatorSecret(m); own != "" {
			return secretVersion{}, "", falseCondition(v1alpha1.ReasonInvalid, "%s: ConfigMap %q %s: name one that was made for this", field, ref.Name, own), nil
		}
		if version = versionOf(m, ref.Key); version == known {
			return version, "", condition{}, nil
		}
		err = op.apiReader.Get(ctx, key, &found)
	}
	switch {
	case apierrors.IsNotFound(err):
		return secretVersion{}, "", falseCondition(v1alpha1.ReasonConfigMapNotFound, "%s: there is no ConfigMap %q in namespace %q", field, ref.Name, namespace), nil
	case err != nil:
		return secretVersion{}, "", condition{}, err
	case found.ResourceVersion != m.ResourceVersion:
		return secretVersion{}, "", condition{}, newChangedError(m) // it may be the operator's own by now
	}
	value, ok := found.Data[ref.Key]
	if !ok {
		return secretVersion{}, "", falseCondition(v1alpha1.ReasonConfigMapNotFound, "%s: ConfigMap %q in namespace %q has no key %q", field, ref.Name, namespace, ref.Key), nil
	}
	return version, value, condition{}, nil
}
