package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
)

// contentAnnotation on a client's Secret is a hash of all that the Secret is to hold but the secret
// itself, so that the cached metadata tell whether it has to be written.
const contentAnnotation = "internal.oauth-operator.dev/content"

// Names of Secrets that belong to AuthorizationServers end so; the API server refuses them as
// targets too.
const (
	suffixKeys      = "-tokenserver-keys"
	suffixUpstreams = "-tokenserver-upstreams"
)

func reservedName(name string) bool {
	return strings.HasSuffix(name, suffixKeys) || strings.HasSuffix(name, suffixUpstreams)
}

// secretTarget is the Secret that the workload mounts: what it is to be, and what is there.
type secretTarget struct {
	spec     *v1alpha1.SecretTarget
	content  targetContent
	metadata *metav1.PartialObjectMetadata // nil: no such Secret
	ours     bool                          // the client's own; else it is marked for it
	adopted  bool                          // it was there before the client had it, or that is about to be so
}

// targetContent is all of the Secret but the client secret.
type targetContent struct {
	labels, annotations map[string]string
	data                map[string]string
}

func (c targetContent) hash() string {
	h := sha256.New()
	for _, part := range []map[string]string{c.labels, c.annotations, c.data} {
		for _, key := range slices.Sorted(maps.Keys(part)) {
			fmt.Fprintf(h, "%q=%q\n", key, part[key])
		}
		fmt.Fprintln(h)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// holds says whether the Secret is ours, and still as it was when source was written down.
func (t *secretTarget) holds(source string) bool {
	return t.ours && source == sourceOf(t.metadata, "") && t.metadata.Annotations[contentAnnotation] == t.content.hash()
}

// copies is holds for the source of a value that was read elsewhere. Where there is to be no copy,
// none must have been made.
func (t *secretTarget) copies(source string) bool {
	_, copied, made := strings.Cut(source, " ")
	if t == nil {
		return !made
	}
	return made && t.holds(copied)
}

// findTarget looks at the target's metadata; nil if there is to be none. A Secret that is neither
// ours nor marked for us is left alone, which the condition says.
func (r *clientReconciler) findTarget(ctx context.Context, s *clientScope) (*secretTarget, error) {
	spec := compile.SecretTarget(s.client)
	if spec == nil {
		return nil, nil
	}
	if reservedName(string(spec.Name)) {
		s.credentials = invalidCondition("spec.secret.target.name: Secrets whose names end with %s or %s belong to AuthorizationServers: name another", suffixKeys, suffixUpstreams)
		return nil, nil
	}
	target := &secretTarget{spec: spec, content: targetContent{
		labels: spec.Labels, annotations: spec.Annotations, data: compile.SecretContent(s.document, s.server.document.Issuer),
	}}
	metadata := secretMetadata()
	err := r.Get(ctx, client.ObjectKey{Namespace: s.client.Namespace, Name: spec.Name}, metadata)
	if apierrors.IsNotFound(err) {
		return target, nil
	}
	if err != nil {
		return nil, err
	}
	target.metadata = metadata
	owner := oauthClientOf(metadata)
	target.ours = owner != nil && owner.UID == s.client.UID
	target.adopted = !target.ours || metav1.GetControllerOfNoCopy(metadata) == nil
	if target.ours {
		return target, nil
	}
	s.credentials, err = r.othersSecret(ctx, s.client, metadata)
	return target, err
}

// othersSecret says why a Secret that is not the client's cannot be its target; undecided if it
// can, since a user who may write it has marked it for the client.
func (r *clientReconciler) othersSecret(ctx context.Context, c *v1alpha1.OAuthClient, m *metav1.PartialObjectMetadata) (condition, error) {
	const instead = "name another in spec.secret.target.name"
	owner := metav1.GetControllerOf(m)
	why, err := r.inTheWay(ctx, c, m)
	switch {
	case err != nil:
		return condition{}, err
	case owner != nil && isClient(owner) && owner.Name == c.Name && m.Annotations[v1alpha1.AdoptAnnotation] != c.Name:
		return pendingCondition("Secret %q belongs to an OAuthClient of this name that was deleted; waiting until the Secret is removed too", m.Name), nil
	case why != "":
		return falseCondition(v1alpha1.ReasonSecretExists, "Secret %q exists, and %s: %s", m.Name, why, instead), nil
	case m.Annotations[v1alpha1.AdoptAnnotation] == c.Name: // adopt takes it over
		return condition{}, nil
	}
	return falseCondition(v1alpha1.ReasonSecretExists, "Secret %q exists and is not this client's: remove it, or %s, or annotate it with %s=%s to have it taken over",
		m.Name, instead, v1alpha1.AdoptAnnotation, c.Name), nil
}

// secret is the whole of the target, with a value.
func (t *secretTarget) secret(c *v1alpha1.OAuthClient, value string) *corev1.Secret {
	labels := maps.Clone(t.content.labels)
	if labels == nil {
		labels = map[string]string{}
	}
	annotations := map[string]string{contentAnnotation: t.content.hash()}
	maps.Copy(annotations, t.content.annotations)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: t.spec.Name, Labels: labels, Annotations: annotations},
		Data:       map[string][]byte{compile.SecretKeyClientSecret: []byte(value)},
	}
	for key, text := range t.content.data {
		secret.Data[key] = []byte(text)
	}
	if t.adopted {
		annotations[adoptedAnnotation] = adoptedBy(c)
		return secret
	}
	controller := true
	labels[workload.ManagedByLabel] = workload.ManagedBy
	secret.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: kindClient, Name: c.Name, UID: c.UID, Controller: &controller,
	}}
	return secret
}

// tryTarget finds out whether the Secret can be written, by a dry run of the very write: quotas and
// admission policies see what they will see, its labels and its content, and nothing is stored.
func (r *clientReconciler) tryTarget(ctx context.Context, s *clientScope, target *secretTarget, value string) error {
	secret := target.secret(s.client, value)
	if target.metadata == nil {
		return r.Create(ctx, secret, client.DryRunAll, client.FieldOwner(FieldManager))
	}
	secret.ResourceVersion = target.metadata.ResourceVersion
	return r.writer.applyObject(ctx, secret, client.DryRunAll)
}

// writeTarget makes the Secret as it is to be, in one write. It creates it, which is what fails
// when another client of the API server was faster; or applies it onto the version that was seen,
// which takes only the fields that are ours.
func (r *clientReconciler) writeTarget(ctx context.Context, c *v1alpha1.OAuthClient, target *secretTarget, value string) (metav1.Object, error) {
	secret := target.secret(c, value)
	switch {
	case target.metadata == nil:
		return secret, r.Create(ctx, secret, client.FieldOwner(FieldManager))
	case target.ours:
		if err := r.ownByApply(ctx, target.metadata); err != nil {
			return nil, err
		}
	default:
		if err := r.adopt(ctx, c, target.metadata); err != nil {
			return nil, err
		}
	}
	secret.ResourceVersion = target.metadata.ResourceVersion
	return secret, r.writer.applyObject(ctx, secret)
}

// ownByApply makes the fields that were ours since the Secret was created ours by server-side
// apply, as they are when it is applied the first time: else it would keep the labels and keys that
// are applied no more.
func (r *clientReconciler) ownByApply(ctx context.Context, m *metav1.PartialObjectMetadata) error {
	now := secretMetadata()
	if err := r.apiReader.Get(ctx, client.ObjectKeyFromObject(m), now); err != nil {
		return err
	}
	if now.ResourceVersion != m.ResourceVersion {
		return changedMeanwhile(m.Name)
	}
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(now, sets.New(FieldManager), FieldManager)
	if err != nil || patch == nil {
		return err
	}
	if err := r.Patch(ctx, now, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return err
	}
	m.ResourceVersion = now.ResourceVersion
	return nil
}

// removeSecrets removes the Secrets that were made for the client but those that it keeps: the
// target was renamed, or there is none any more. What it has adopted stays, and so does what has
// the name of a server's Secret.
func (r *clientReconciler) removeSecrets(ctx context.Context, c *v1alpha1.OAuthClient, keep ...string) error {
	owned, err := r.secretsOf(ctx, c)
	if err != nil {
		return err
	}
	for i := range owned {
		m := &owned[i]
		if slices.Contains(keep, m.Name) || metav1.GetControllerOfNoCopy(m) == nil || reservedName(m.Name) {
			continue
		}
		if err := r.Delete(ctx, m, client.Preconditions{UID: &m.UID, ResourceVersion: &m.ResourceVersion}); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

func (r *clientReconciler) secretsOf(ctx context.Context, c *v1alpha1.OAuthClient) ([]metav1.PartialObjectMetadata, error) {
	list := secretMetadataList()
	if err := r.List(ctx, list, client.InNamespace(c.Namespace), client.MatchingFields{indexOwner: string(c.UID)}); err != nil {
		return nil, fmt.Errorf("listing Secrets: %w", err)
	}
	return list.Items, nil
}
