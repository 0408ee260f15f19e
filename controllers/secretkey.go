package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// readSecretKey reads a key of a Secret. It looks up the metadata in the cache, and returns no
// value if they are of the known version; else it reads the content from the API server. detail is
// that of the version. problem says why there is no value, such as that there is no such Secret or
// key.
func (op *operator) readSecretKey(ctx context.Context, k compile.SecretKey, detail string, known secretVersion) (version secretVersion, value []byte, problem condition, err error) {
	key, metadata := client.ObjectKey{Namespace: k.Namespace, Name: k.Ref.Name}, secretMetadata()
	if err := op.Get(ctx, key, metadata); err != nil {
		if apierrors.IsNotFound(err) {
			return secretVersion{}, nil, problemCondition(k.Missing()), nil
		}
		return secretVersion{}, nil, condition{}, err
	}
	if problem := k.CheckOwner(metadata); problem.IsSet() {
		return secretVersion{}, nil, problemCondition(problem), nil
	}
	if version = versionOf(metadata, detail); version == known {
		return version, nil, condition{}, nil
	}
	secret, err := op.readSecret(ctx, key)
	if err != nil {
		if apierrors.IsNotFound(err) {
			return secretVersion{}, nil, problemCondition(k.Missing()), nil
		}
		return secretVersion{}, nil, condition{}, err
	}
	if secret.ResourceVersion != metadata.ResourceVersion {
		return secretVersion{}, nil, condition{}, newChangedError(metadata) // it may be the operator's own by now
	}
	value, found := k.Value(secret)
	if found.IsSet() {
		return secretVersion{}, nil, problemCondition(found), nil
	}
	return versionOf(secret, detail), value, condition{}, nil
}

// readSecret reads a whole Secret from the API server: the cache has only metadata.
func (op *operator) readSecret(ctx context.Context, key client.ObjectKey) (*corev1.Secret, error) {
	var secret corev1.Secret
	return &secret, op.apiReader.Get(ctx, key, &secret)
}
