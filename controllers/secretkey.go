package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// secretRead is what to read of which Secret, and on whose behalf.
type secretRead struct {
	namespace string
	ref       v1alpha1.SecretKeyReference
	field     string // that holds the reference, for whoever wrote it
	detail    string // what is read, as the source tells it
	known     string // the source that was read before
	// forbidden says why the Secret must not be read for this; empty: it may. Nil forbids none.
	forbidden func(*corev1.Secret) string
}

// readSecretKey reads a key of a Secret, unless the Secret is as it was when the known source was read. Its metadata come from the cache, its
// content from the API server. A Secret or key that is not there is a refusal.
func (op *operator) readSecretKey(ctx context.Context, read secretRead) (source string, value []byte, refusal condition, err error) {
	ref := read.ref
	missing := falseCondition(v1alpha1.ReasonSecretNotFound, "%s: there is no Secret %q in namespace %q", read.field, ref.Name, read.namespace)
	key := client.ObjectKey{Namespace: read.namespace, Name: ref.Name}
	metadata := secretMetadata()
	if err := op.Get(ctx, key, metadata); err != nil {
		if apierrors.IsNotFound(err) {
			return "", nil, missing, nil
		}
		return "", nil, condition{}, err
	}
	if own := operatorsOwn(metadata); own != "" {
		return "", nil, falseCondition(v1alpha1.ReasonInvalid, "%s: Secret %q %s: name one that was made for this", read.field, ref.Name, own), nil
	}
	if source = sourceOf(metadata, read.detail); source == read.known {
		return source, nil, condition{}, nil
	}
	secret, err := op.readSecret(ctx, key)
	if err != nil {
		if apierrors.IsNotFound(err) {
			return "", nil, missing, nil
		}
		return "", nil, condition{}, err
	}
	if secret.ResourceVersion != metadata.ResourceVersion {
		return "", nil, condition{}, changedMeanwhile(ref.Name) // and may be the operator's own now
	}
	if read.forbidden != nil {
		if why := read.forbidden(secret); why != "" {
			return "", nil, falseCondition(v1alpha1.ReasonInvalid, "%s: Secret %q %s", read.field, ref.Name, why), nil
		}
	}
	value, found := secret.Data[ref.Key]
	if !found {
		return "", nil, falseCondition(v1alpha1.ReasonSecretNotFound, "%s: Secret %q in namespace %q has no key %q", read.field, ref.Name, read.namespace, ref.Key), nil
	}
	return sourceOf(secret, read.detail), value, condition{}, nil
}

// readSecret reads a whole Secret from the API server: the cache has the metadata only.
func (op *operator) readSecret(ctx context.Context, key client.ObjectKey) (*corev1.Secret, error) {
	var secret corev1.Secret
	return &secret, op.apiReader.Get(ctx, key, &secret)
}
