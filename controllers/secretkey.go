package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// secretRead says which key of which Secret to read.
type secretRead struct {
	namespace string
	ref       v1alpha1.SecretKeyReference
	field     string        // with the reference, for messages
	detail    string        // of the version that is returned
	known     secretVersion // that need not be read again
	// forbidden returns why the Secret must not be read, as a predicate of it, or "" if it may. Nil
	// forbids none.
	forbidden func(*corev1.Secret) string
}

// readSecretKey reads a key of a Secret. It looks up the metadata in the cache, and returns no
// value if they are of the known version; else it reads the content from the API server. problem
// says why there is no value, such as that there is no such Secret or key.
func (op *operator) readSecretKey(ctx context.Context, read secretRead) (version secretVersion, value []byte, problem condition, err error) {
	ref := read.ref
	missing := falseCondition(v1alpha1.ReasonSecretNotFound, "%s: there is no Secret %q in namespace %q", read.field, ref.Name, read.namespace)
	key := client.ObjectKey{Namespace: read.namespace, Name: ref.Name}
	metadata := secretMetadata()
	if err := op.Get(ctx, key, metadata); err != nil {
		if apierrors.IsNotFound(err) {
			return secretVersion{}, nil, missing, nil
		}
		return secretVersion{}, nil, condition{}, err
	}
	if own := describeOperatorSecret(metadata); own != "" {
		return secretVersion{}, nil, falseCondition(v1alpha1.ReasonInvalid, "%s: Secret %q %s: name a Secret that was made for this", read.field, ref.Name, own), nil
	}
	if version = versionOf(metadata, read.detail); version == read.known {
		return version, nil, condition{}, nil
	}
	secret, err := op.readSecret(ctx, key)
	if err != nil {
		if apierrors.IsNotFound(err) {
			return secretVersion{}, nil, missing, nil
		}
		return secretVersion{}, nil, condition{}, err
	}
	if secret.ResourceVersion != metadata.ResourceVersion {
		return secretVersion{}, nil, condition{}, newChangedError(metadata) // it may be the operator's own by now
	}
	if read.forbidden != nil {
		if forbidden := read.forbidden(secret); forbidden != "" {
			return secretVersion{}, nil, falseCondition(v1alpha1.ReasonInvalid, "%s: Secret %q %s", read.field, ref.Name, forbidden), nil
		}
	}
	value, found := secret.Data[ref.Key]
	if !found {
		return secretVersion{}, nil, falseCondition(v1alpha1.ReasonSecretNotFound, "%s: Secret %q in namespace %q has no key %q", read.field, ref.Name, read.namespace, ref.Key), nil
	}
	return versionOf(secret, read.detail), value, condition{}, nil
}

// readSecret reads a whole Secret from the API server: the cache has only metadata.
func (op *operator) readSecret(ctx context.Context, key client.ObjectKey) (*corev1.Secret, error) {
	var secret corev1.Secret
	return &secret, op.apiReader.Get(ctx, key, &secret)
}
