package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
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

// secretTarget is the Secret that a workload mounts: as it should be, and as it is.
type secretTarget struct {
	spec     *v1alpha1.SecretTarget
	content  targetContent
	metadata *metav1.PartialObjectMetadata // nil: there is no such Secret
	// isOwn reports that the Secret is the client's: the manager has made it, or adopted it for the
	// client. Another Secret has to be adopted before it is written.
	isOwn bool
	// isAdopted reports that a user has made the Secret, and the client has adopted it or is about
	// to. It is never deleted with the client.
	isAdopted bool
	// render returns the data with a client secret.
	render func(secret string) (map[string]string, error)
}

// targetContent is all of the Secret except the client secret.
type targetContent struct {
	labels, annotations map[string]string
	data                map[string]string // without the key client_secret, and elsewhere with compile.AnySecret in its place
	templates           map[string]string // spec.secret.target.data, as the user wrote it
	isRetained          bool
}

// hash returns the value of the annotation. It says nothing about the client secret.
func (c targetContent) hash() string {
	h := sha256.New()
	parts := []map[string]string{c.labels, c.annotations, c.data}
	if len(c.templates) > 0 { // else the hash is what it was before there were any
		parts = append(parts, c.templates)
	}
	for _, part := range parts {
		for _, key := range slices.Sorted(maps.Keys(part)) {
			fmt.Fprintf(h, "%q=%q\n", key, part[key])
		}
		fmt.Fprintln(h)
	}
	if c.isRetained {
		fmt.Fprintln(h, "retained")
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
	if compile.IsReservedName(string(spec.Name)) {
		return nil, invalidCondition("spec.secret.target.name: Secrets whose names end with %s or %s belong to AuthorizationServers: choose another name",
			compile.SuffixKeys, compile.SuffixUpstreams), nil
	}
	target, problem = newSecretTarget(s, spec)
	if problem.isSet() {
		return target, problem, nil
	}
	key, metadata := client.ObjectKey{Namespace: s.client.Namespace, Name: spec.Name}, secretMetadata()
	err = r.Get(ctx, key, metadata)
	if client.IgnoreNotFound(err) != nil {
		return nil, condition{}, err
	}
	if err == nil {
		target.metadata = metadata
		owner := compile.OAuthClientOf(metadata)
		target.isOwn = owner != nil && owner.UID == s.client.UID
		target.isAdopted = !isRetained(metadata) && (!target.isOwn || metav1.GetControllerOfNoCopy(metadata) == nil)
	}
	if target.isOwn {
		return target, condition{}, nil
	}
	// Else the author of an OAuthClient would choose what token servers mount, whenever the Secret is
	// missing for a moment.
	if problem, err = r.findMountedName(ctx, key); err != nil || problem.isSet() {
		s.requeueAt = earliest(s.requeueAt, r.now().Add(retryName))
		return target, problem, err
	}
	if target.metadata != nil {
		problem, err = r.findAdoptionProblem(ctx, s.client, metadata)
	}
	return target, problem, err
}

// findMountedName returns why a client must not get a Secret of a name, which is that the token
// servers of an AuthorizationServer mount it.
func (r *clientReconciler) findMountedName(ctx context.Context, key client.ObjectKey) (condition, error) {
	named, err := r.describeServerSecret(ctx, key)
	if err != nil || named == "" {
		return condition{}, err
	}
	return falseCondition(v1alpha1.ReasonInvalid, "spec.secret.target.name: Secret %q %s: choose another name", key.Name, named), nil
}

// newSecretTarget returns the target as it should be. problem says what is wrong with it in the spec.
func newSecretTarget(s *clientPass, spec *v1alpha1.SecretTarget) (target *secretTarget, problem condition) {
	issuer := s.server.document.Issuer
	data, findings := compile.SecretData(s.client, s.document, issuer, compile.AnySecret)
	if len(findings) > 0 {
		problem = invalidCondition("%s", findings)
	}
	delete(data, compile.SecretKeyClientSecret)
	return &secretTarget{
		spec: spec,
		content: targetContent{
			labels: spec.Labels, annotations: spec.Annotations, data: data, templates: spec.Data,
			isRetained: spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain,
		},
		render: func(secret string) (map[string]string, error) {
			data, findings := compile.SecretData(s.client, s.document, issuer, secret)
			if len(findings) > 0 {
				return nil, fmt.Errorf("expanding the data of a Secret: %s", findings)
			}
			return data, nil
		},
	}, problem
}

// newSecret returns the whole Secret, with a value.
func (t *secretTarget) newSecret(c *v1alpha1.OAuthClient, value string) (*corev1.Secret, error) {
	data, err := t.render(value)
	if err != nil {
		return nil, err
	}
	labels := maps.Clone(t.content.labels)
	if labels == nil {
		labels = map[string]string{}
	}
	annotations := map[string]string{contentAnnotation: t.content.hash()}
	maps.Copy(annotations, t.content.annotations)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: t.spec.Name, Labels: labels, Annotations: annotations},
		Data:       map[string][]byte{},
	}
	for key, text := range data {
		secret.Data[key] = []byte(text)
	}
	if t.content.isRetained { // by a client of this name that is created later
		annotations[v1alpha1.AdoptAnnotation] = c.Name
	}
	switch {
	case t.isAdopted:
		annotations[compile.AdoptedAnnotation] = adopterValue(c)
		return secret, nil
	case t.content.isRetained:
		annotations[compile.RetainedAnnotation] = adopterValue(c)
	default:
		secret.OwnerReferences = []metav1.OwnerReference{controllerReference(c)}
	}
	labels[workload.ManagedByLabel] = workload.ManagedBy
	return secret, nil
}

// controllerReference returns the ownerReference with which an object is deleted with a client.
func controllerReference(c *v1alpha1.OAuthClient) metav1.OwnerReference {
	controller := true
	return metav1.OwnerReference{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: compile.KindClient, Name: c.Name, UID: c.UID, Controller: &controller,
	}
}

// dryRunTarget asks the API server whether the Secret can be written, by a dry run of the same
// write: quotas and admission policies see its labels and its content, and nothing is stored.
func (r *clientReconciler) dryRunTarget(ctx context.Context, c *v1alpha1.OAuthClient, target *secretTarget, value string) error {
	secret, err := target.newSecret(c, value)
	if err != nil {
		return err
	}
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
	secret, err := target.newSecret(c, value)
	if err != nil {
		return nil, err
	}
	if target.metadata == nil {
		return secret, r.Create(ctx, secret, client.FieldOwner(FieldManager))
	}
	return secret, r.applyOnto(ctx, c, target.metadata, target.isOwn, secret)
}

// applyOnto applies an object onto the version that was read, after the client has adopted it if it
// is not its own.
func (r *clientReconciler) applyOnto(ctx context.Context, c *v1alpha1.OAuthClient, m *metav1.PartialObjectMetadata, isOwn bool, object client.Object) error {
	if !isOwn {
		if err := r.adopt(ctx, c, m); err != nil {
			return err
		}
	}
	if err := r.upgradeFieldOwnership(ctx, m); err != nil {
		return err
	}
	object.SetResourceVersion(m.ResourceVersion)
	return r.writer.applyObject(ctx, object)
}

// upgradeFieldOwnership moves the fields that the manager owns since it created or patched an object
// to its server-side apply, before the next one. Else labels and keys that are no longer applied
// would stay.
func (r *clientReconciler) upgradeFieldOwnership(ctx context.Context, m *metav1.PartialObjectMetadata) error {
	current := metadataOf(m.Kind)
	if err := r.apiReader.Get(ctx, client.ObjectKeyFromObject(m), current); err != nil {
		return err
	}
	if current.ResourceVersion != m.ResourceVersion {
		return newChangedError(m)
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
