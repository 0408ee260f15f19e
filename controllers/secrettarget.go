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

// contentAnnotation on a client's Secret is a hash of all that the manager writes into it except
// the client secret, so that the cached metadata show whether it has to be written.
const contentAnnotation = "internal.oauth-operator.dev/content"

// Suffixes of the names of Secrets that belong to AuthorizationServers. The API server refuses them
// as targets too. suffixUpstreams is reserved for credentials of upstream identity providers; no
// such Secret is made here.
const (
	suffixKeys      = "-tokenserver-keys"
	suffixUpstreams = "-tokenserver-upstreams"
)

// isReservedName reports whether only the Secret of an AuthorizationServer may have a name.
func isReservedName(name string) bool {
	return strings.HasSuffix(name, suffixKeys) || strings.HasSuffix(name, suffixUpstreams)
}

// secretTarget is the Secret that a workload mounts: as it should be, and as it is.
type secretTarget struct {
	spec     *v1alpha1.SecretTarget
	content  targetContent
	metadata *metav1.PartialObjectMetadata // nil: there is no such Secret
	// isOwn reports that the Secret is the client's: the manager has made it, or adopted it for the
	// client. Another Secret has to be adopted before it is written.
	isOwn bool
	// isAdopted reports that the Secret existed before and was adopted, or is about to be.
	isAdopted bool
}

// targetContent is all of the Secret except the client secret.
type targetContent struct {
	labels, annotations map[string]string
	data                map[string]string
}

// hash returns the value of the annotation.
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

// isCurrent reports whether the Secret is the client's, in the version that the manager wrote, and
// as it should be. A nil target is not current.
func (t *secretTarget) isCurrent(written secretVersion) bool {
	return t != nil && t.isOwn && written == versionOf(t.metadata, "") && t.metadata.Annotations[contentAnnotation] == t.content.hash()
}

// findTarget looks up the target of a client in the cache; nil if the client has none. problem says
// why the target must not be written, if so.
func (r *clientReconciler) findTarget(ctx context.Context, s *clientPass) (target *secretTarget, problem condition, err error) {
	spec := compile.SecretTarget(s.client)
	if spec == nil {
		return nil, condition{}, nil
	}
	if isReservedName(string(spec.Name)) {
		return nil, invalidCondition("spec.secret.target.name: Secrets whose names end with %s or %s belong to AuthorizationServers: choose another name",
			suffixKeys, suffixUpstreams), nil
	}
	target = &secretTarget{spec: spec, content: targetContent{
		labels: spec.Labels, annotations: spec.Annotations, data: compile.SecretContent(s.document, s.server.document.Issuer),
	}}
	metadata := secretMetadata()
	err = r.Get(ctx, client.ObjectKey{Namespace: s.client.Namespace, Name: spec.Name}, metadata)
	if apierrors.IsNotFound(err) {
		return target, condition{}, nil
	}
	if err != nil {
		return nil, condition{}, err
	}
	target.metadata = metadata
	owner := oauthClientOf(metadata)
	target.isOwn = owner != nil && owner.UID == s.client.UID
	target.isAdopted = !target.isOwn || metav1.GetControllerOfNoCopy(metadata) == nil
	if target.isOwn {
		return target, condition{}, nil
	}
	problem, err = r.findAdoptionProblem(ctx, s.client, metadata)
	return target, problem, err
}

// newSecret returns the whole Secret, with a value.
func (t *secretTarget) newSecret(c *v1alpha1.OAuthClient, value string) *corev1.Secret {
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
	if t.isAdopted {
		annotations[adoptedAnnotation] = adopterValue(c)
		return secret
	}
	controller := true
	labels[workload.ManagedByLabel] = workload.ManagedBy
	secret.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: compile.KindClient, Name: c.Name, UID: c.UID, Controller: &controller,
	}}
	return secret
}

// dryRunTarget asks the API server whether the Secret can be written, by a dry run of the same
// write: quotas and admission policies see its labels and its content, and nothing is stored.
func (r *clientReconciler) dryRunTarget(ctx context.Context, c *v1alpha1.OAuthClient, target *secretTarget, value string) error {
	secret := target.newSecret(c, value)
	if target.metadata == nil {
		return r.Create(ctx, secret, client.DryRunAll, client.FieldOwner(FieldManager))
	}
	secret.ResourceVersion = target.metadata.ResourceVersion
	return r.writer.applyObject(ctx, secret, client.DryRunAll)
}

// writeTarget writes the Secret in one request, and returns it with its new version. It creates the
// Secret, which fails if another program was faster; or applies it onto the version that was read,
// and then changes the manager's fields only.
func (r *clientReconciler) writeTarget(ctx context.Context, c *v1alpha1.OAuthClient, target *secretTarget, value string) (metav1.Object, error) {
	secret := target.newSecret(c, value)
	switch {
	case target.metadata == nil:
		return secret, r.Create(ctx, secret, client.FieldOwner(FieldManager))
	case target.isOwn:
		if err := r.upgradeFieldOwnership(ctx, target.metadata); err != nil {
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

// upgradeFieldOwnership moves the fields that the manager has owned since it created the Secret to
// its server-side apply, before the first one. Else labels and keys that are no longer applied
// would stay.
func (r *clientReconciler) upgradeFieldOwnership(ctx context.Context, m *metav1.PartialObjectMetadata) error {
	current := secretMetadata()
	if err := r.apiReader.Get(ctx, client.ObjectKeyFromObject(m), current); err != nil {
		return err
	}
	if current.ResourceVersion != m.ResourceVersion {
		return newChangedError(m.Name)
	}
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(current, sets.New(FieldManager), FieldManager)
	if err != nil || patch == nil {
		return err
	}
	if err := r.Patch(ctx, current, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return err
	}
	m.ResourceVersion = current.ResourceVersion
	return nil
}

// deleteOtherSecrets deletes the Secrets that were made for a client, except those to keep. Other
// ones are left when the target is renamed or removed. It deletes no adopted Secret, and none that
// has the name of an AuthorizationServer's.
func (r *clientReconciler) deleteOtherSecrets(ctx context.Context, c *v1alpha1.OAuthClient, keep []string) error {
	owned, err := r.listSecrets(ctx, c)
	if err != nil {
		return err
	}
	for i := range owned {
		m := &owned[i]
		if slices.Contains(keep, m.Name) || metav1.GetControllerOfNoCopy(m) == nil || isReservedName(m.Name) {
			continue
		}
		if err := r.Delete(ctx, m, client.Preconditions{UID: &m.UID, ResourceVersion: &m.ResourceVersion}); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

// listSecrets returns the Secrets that were made for a client, or that it has adopted.
func (r *clientReconciler) listSecrets(ctx context.Context, c *v1alpha1.OAuthClient) ([]metav1.PartialObjectMetadata, error) {
	list := secretMetadataList()
	if err := r.List(ctx, list, client.InNamespace(c.Namespace), client.MatchingFields{indexClientUID: string(c.UID)}); err != nil {
		return nil, fmt.Errorf("listing the Secrets of an OAuthClient: %w", err)
	}
	return list.Items, nil
}
