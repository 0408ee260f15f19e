package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/upstreams"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
)

// upstreamsAnnotation on the Secret with the credentials for identity providers says since when
// which of them are replaced (package upstreams).
const upstreamsAnnotation = "internal.oauth-operator.dev/replaced"

// upstreamSecretKey returns the key of that Secret, for the key of the server.
func upstreamSecretKey(server client.ObjectKey) client.ObjectKey {
	return client.ObjectKey{Namespace: server.Namespace, Name: workload.UpstreamsSecretName(server.Name)}
}

// writeUpstream makes value the credential of a provider of a server, and removes those of providers
// that do not exist any more. Nil leaves the credential as it is, unless remove is set. problem says
// that the Secret is not the operator's.
func (op *operator) writeUpstream(
	ctx context.Context, server *v1alpha1.AuthorizationServer, provider types.UID, value []byte, remove bool,
) (written upstreams.Credentials, problem condition, err error) {
	providers, err := op.listProviders(ctx, client.ObjectKeyFromObject(server))
	if err != nil {
		return written, condition{}, err
	}
	var keep []types.UID
	for i := range providers {
		if !remove || providers[i].UID != provider {
			keep = append(keep, providers[i].UID)
		}
	}
	secret, exists, err := op.readUpstreams(ctx, server)
	if err != nil {
		return written, condition{}, err
	}
	want := workload.UpstreamsSecret(server)
	if exists {
		if problem := owned(server, workloadObject{want, secret}); problem.isSet() {
			return written, problem, nil
		}
	}
	before, err := upstreams.Decode(secret.Data, secret.Annotations[upstreamsAnnotation])
	if err != nil { // a user has changed the annotation: all but the value are replaced as of now
		before, err = upstreams.Decode(secret.Data, "")
	}
	if err != nil {
		return written, condition{}, err
	}
	written = before.Clone()
	written.KeepOnly(keep)
	if value != nil {
		err = written.Set(provider, value, op.now(), op.random)
	} else {
		written.Expire(provider, op.now())
	}
	if err != nil || written.Equal(before) && (!exists || metav1.IsControlledBy(secret, server)) {
		return written, condition{}, err
	}
	return written, condition{}, op.replaceUpstreams(ctx, want, secret, exists, written)
}

// readUpstreams reads the Secret from the API server: the cache has no content.
func (op *operator) readUpstreams(ctx context.Context, server *v1alpha1.AuthorizationServer) (secret *corev1.Secret, exists bool, err error) {
	secret, err = op.readSecret(ctx, upstreamSecretKey(client.ObjectKeyFromObject(server)))
	if apierrors.IsNotFound(err) {
		return &corev1.Secret{}, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading the Secret of credentials for identity providers: %w", err)
	}
	return secret, true, nil
}

// replaceUpstreams writes the Secret onto the version that was read. A Secret without files stays
// until the server has no providers.
func (op *operator) replaceUpstreams(ctx context.Context, want, current *corev1.Secret, exists bool, credentials upstreams.Credentials) error {
	data, annotation := credentials.Encode()
	if want.Annotations == nil {
		want.Annotations = map[string]string{}
	}
	want.Annotations[upstreamsAnnotation], want.Data = annotation, data
	if !exists {
		return op.Create(ctx, want, client.FieldOwner(FieldManager))
	}
	next := current.DeepCopy()
	next.Labels, next.OwnerReferences, next.Data = want.Labels, want.OwnerReferences, want.Data
	if next.Annotations == nil {
		next.Annotations = map[string]string{}
	}
	next.Annotations[upstreamsAnnotation] = annotation
	return op.Update(ctx, next, client.FieldOwner(FieldManager))
}

// removeUpstreams deletes the Secret of a server that has no providers.
func (r *serverReconciler) removeUpstreams(ctx context.Context, s *serverPass) error {
	if !s.accepted.isTrue() {
		return nil
	}
	cached := secretMetadata()
	err := r.Get(ctx, upstreamSecretKey(client.ObjectKeyFromObject(s.server)), cached)
	if apierrors.IsNotFound(err) || err == nil && !metav1.IsControlledBy(cached, s.server) {
		return nil
	}
	if err != nil {
		return err
	}
	providers, err := r.listProviders(ctx, client.ObjectKeyFromObject(s.server))
	if err != nil || len(providers) > 0 {
		return err
	}
	uid, version := cached.UID, cached.ResourceVersion
	err = r.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: cached.Namespace, Name: cached.Name}}, client.Preconditions{UID: &uid, ResourceVersion: &version})
	return client.IgnoreNotFound(err)
}
