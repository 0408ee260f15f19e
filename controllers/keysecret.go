package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/keyring"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
)

// ringAnnotation on the key Secret holds the keyring.Ring. The Secret has no owner: keys outlive
// their AuthorizationServer.
const ringAnnotation = "internal.oauth-operator.dev/keys"

// Suffixes of key files, after the kid, as the token server reads them.
const (
	signingSuffix = ".pem"
	sealingSuffix = ".sealing"
)

// foreignKeySecretError is returned for a Secret that has the name of a key Secret and cannot be
// used as one. The manager does not change it. The text is a predicate of the Secret, with advice.
type foreignKeySecretError struct{ problem string }

// Error implements error.
func (e *foreignKeySecretError) Error() string { return "the Secret " + e.problem }

// keySecretState is what a pass has read of the keys of a server.
type keySecretState struct {
	ring keyring.Ring
	// stored is the ring in the annotation.
	stored keyring.Ring
	// exists reports that there is a Secret; resourceVersion and hasLabel, which reports that it has
	// the label of key Secrets, are of it.
	exists          bool
	resourceVersion string
	hasLabel        bool
	// lost are keys that the server had and that do not exist any more.
	lost []string
}

func keySecretKey(server *v1alpha1.AuthorizationServer) client.ObjectKey {
	return client.ObjectKey{Namespace: server.Namespace, Name: workload.KeysSecretName(server.Name)}
}

// readKeys reads the ring, and which of its keys are lost. known are the keys that the server's
// document or status lists; revoked ones are never lost. The error is keyring.ErrInvalid if nothing
// is known of the keys in the Secret, a foreignKeySecretError, or a versionSkew.
func (op *operator) readKeys(ctx context.Context, server *v1alpha1.AuthorizationServer, known []documents.Key, revoked []string) (keySecretState, error) {
	key := keySecretKey(server)
	state, existing, err := op.readKeySecret(ctx, key)
	if err != nil {
		return state, err
	}
	state.ring, state.lost, err = keyring.Restore(state.stored, existing, known, revoked, op.now())
	if err == nil && len(state.lost) == 0 && len(state.stored.Keys) > 0 {
		op.completeKeySecrets.Store(key, state.resourceVersion)
	}
	return state, err
}

// readKeySecret reads the annotation from the cache, and from the API server which keys exist.
// existing is nil if this version of the Secret is known to be complete, and then the API server is
// not asked.
func (op *operator) readKeySecret(ctx context.Context, key client.ObjectKey) (state keySecretState, existing []string, err error) {
	cached := secretMetadata()
	err = op.Get(ctx, key, cached)
	if complete, _ := op.completeKeySecrets.Load(key); err == nil && complete == cached.ResourceVersion {
		state, err := newKeySecretState(cached)
		return state, nil, err
	}
	if client.IgnoreNotFound(err) != nil {
		return keySecretState{}, nil, err
	}
	var secret corev1.Secret
	if err := op.apiReader.Get(ctx, key, &secret); err != nil {
		if apierrors.IsNotFound(err) {
			return keySecretState{}, []string{}, nil
		}
		return keySecretState{}, nil, fmt.Errorf("reading the key Secret: %w", err)
	}
	if problem := findKeySecretProblem(&secret); problem != "" {
		return keySecretState{}, nil, &foreignKeySecretError{problem}
	}
	state, err = newKeySecretState(&secret)
	return state, listKeyFiles(secret.Data), err
}

func newKeySecretState(secret metav1.Object) (keySecretState, error) {
	ring, err := decodeRing(secret)
	return keySecretState{
		stored: ring, exists: true, resourceVersion: secret.GetResourceVersion(), hasLabel: secret.GetLabels()[workload.KeysLabel] != "",
	}, err
}

// findKeySecretProblem returns why a Secret that has the name of a key Secret cannot be used as one,
// or "" if it can. It must have the label or the annotation of one, and must not be owned by an
// object that would delete it or write into it, such as an OAuthClient that existed before.
func findKeySecretProblem(m metav1.Object) string {
	hasKeys := m.GetAnnotations()[ringAnnotation] != "" || m.GetLabels()[workload.KeysLabel] != ""
	isOwned := len(m.GetOwnerReferences()) > 0 || compile.AdopterOf(m) != nil
	switch {
	case hasKeys && isOwned:
		return "holds the keys and is owned by another object, with which it would be deleted: keep the Secret, and remove its metadata.ownerReferences and its annotation " +
			compile.AdoptedAnnotation
	case isOwned || !hasKeys:
		return "has the name of the key Secret, and was not made by the operator or is owned by another object: remove it"
	}
	return ""
}

// listKeyFiles returns the ids of the keys that a key Secret has files for. It is never nil.
func listKeyFiles(data map[string][]byte) []string {
	kids := []string{}
	for file, content := range data {
		if kid, ok := parseKeyFileName(file); ok && len(content) > 0 {
			kids = append(kids, kid)
		}
	}
	return kids
}

// parseKeyFileName returns the id of the key that a file of the Secret holds.
func parseKeyFileName(file string) (kid string, ok bool) {
	if kid, ok = strings.CutSuffix(file, signingSuffix); !ok {
		kid, ok = strings.CutSuffix(file, sealingSuffix)
	}
	return kid, ok && kid != ""
}

// decodeRing decodes the annotation. It returns the zero Ring if there is none. The error is
// keyring.ErrInvalid, or a versionSkew if a newer manager wrote the annotation.
func decodeRing(secret metav1.Object) (keyring.Ring, error) {
	ring, err := keyring.Decode(secret.GetAnnotations()[ringAnnotation])
	if errors.Is(err, keyring.ErrNewer) {
		return ring, &versionSkew{condition: falseCondition(v1alpha1.ReasonManagerTooOld,
			"a newer manager wrote the annotation %s of Secret %q, and this one cannot read all of it: upgrade the manager; until then the keys do not change",
			ringAnnotation, secret.GetName())}
	}
	return ring, err
}

// newKeyFiles are the keys that a pass has generated, by the name of the file.
type newKeyFiles map[string][]byte

// generator returns a function that adds a new key for an algorithm, and returns its id.
func (n newKeyFiles) generator(random io.Reader) func(algorithm string) (kid string, err error) {
	return func(algorithm string) (string, error) {
		suffix, generate := signingSuffix, func() (string, []byte, error) { return keys.GenerateSigning(algorithm, random) }
		if algorithm == documents.AlgorithmSealing {
			suffix, generate = sealingSuffix, func() (string, []byte, error) { return keys.GenerateSealing(random) }
		}
		kid, content, err := generate()
		if err != nil {
			return "", err
		}
		n[kid+suffix] = content
		return kid, nil
	}
}

// writeKeys stores the ring and the new keys, and removes the files of keys that the ring no longer
// has. It writes onto the version that was read, and writes nothing if nothing has changed.
func (op *operator) writeKeys(ctx context.Context, server *v1alpha1.AuthorizationServer, state keySecretState, next keyring.Ring, files newKeyFiles) error {
	if state.exists && state.hasLabel && len(files) == 0 && reflect.DeepEqual(state.stored, next) {
		return nil
	}
	key := keySecretKey(server)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	if state.exists {
		if err := op.apiReader.Get(ctx, key, secret); err != nil {
			return fmt.Errorf("reading the key Secret: %w", err)
		}
		secret.ResourceVersion = state.resourceVersion
	}
	if err := fillKeySecret(secret, server.Name, next, files); err != nil {
		return err
	}
	var err error
	if state.exists {
		err = op.Update(ctx, secret, client.FieldOwner(FieldManager))
	} else {
		err = op.Create(ctx, secret, client.FieldOwner(FieldManager))
	}
	if err != nil {
		return err
	}
	op.completeKeySecrets.Store(key, secret.ResourceVersion)
	return nil
}

// fillKeySecret changes a Secret to what the ring says. It keeps files that are no keys.
func fillKeySecret(secret *corev1.Secret, server string, ring keyring.Ring, files newKeyFiles) error {
	text, err := ring.Encode()
	if err != nil {
		return err
	}
	if secret.Labels == nil {
		secret.Labels = map[string]string{}
	}
	secret.Labels[workload.KeysLabel] = server
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Annotations[ringAnnotation] = text
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	maps.DeleteFunc(secret.Data, func(file string, _ []byte) bool {
		kid, ok := parseKeyFileName(file)
		return ok && !ring.Has(kid)
	})
	maps.Copy(secret.Data, files)
	return nil
}
