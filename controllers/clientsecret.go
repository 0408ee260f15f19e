package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/tokenserver/registration"
)

// contentAnnotation on a client's Secret is a hash of all that the Secret is to hold but the secret itself, so that the cached metadata tell
// whether it has to be written.
const contentAnnotation = "internal.oauth-operator.dev/content"

// generateSecret has the target hold a generated secret. The order is the one in which no step leaves a workload with a secret that is
// refused: the hash is served as Pending, then the Secret is written, then the credential becomes Active.
func (r *clientReconciler) generateSecret(ctx context.Context, s *clientScope) error {
	target, err := r.findTarget(ctx, s)
	if err != nil {
		return err
	}
	if s.credentials.decided() {
		return r.write(ctx, s, s.entry) // the id is the client's even so; a document that was written in accept is not written again
	}
	active := inState(s.document.Credentials, registration.CredentialActive)
	if active != nil && target.holds(active.Source) {
		s.document.Credentials = activated(*active, active.Source)
		if err := r.write(ctx, s, s.entry); err != nil {
			return err
		}
		s.credentials = secretReady(target.spec.Name)
		return r.removeSecrets(ctx, s.client, target.spec.Name)
	}
	value, err := r.valueToKeep(ctx, s, target)
	if err != nil {
		return err
	}
	if s.credentials.decided() {
		return r.write(ctx, s, s.entry)
	}
	if value == "" {
		if value, err = newSecret(r.random); err != nil {
			return err
		}
	}
	return r.deliver(ctx, s, target, value, "")
}

// takeSecret serves the secret that somebody else wrote, and copies it if a target is set. It is in force as soon as it is read. While the
// source is missing or refused, what was served before stays.
func (r *clientReconciler) takeSecret(ctx context.Context, s *clientScope) error {
	ref := *s.client.Spec.Secret.FromSecret
	target, err := r.findTarget(ctx, s)
	if err != nil {
		return err
	}
	known := ""
	active := inState(s.document.Credentials, registration.CredentialActive)
	if active != nil && target.copies(active.Source) {
		known = sourcePart(active.Source)
	}
	source, value, refusal, err := r.readSecretKey(ctx, secretRead{
		namespace: s.client.Namespace, ref: ref, field: "spec.secret.fromSecret", detail: ref.Key, known: known,
		forbidden: func(secret *corev1.Secret) string { return forbiddenSource(secret, s.client.UID) },
	})
	if err != nil {
		return err
	}
	if refusal.decided() {
		s.credentials = refusal
		return r.write(ctx, s, s.entry)
	}
	if source == known {
		s.document.Credentials = activated(*active, active.Source)
		if err := r.write(ctx, s, s.entry); err != nil {
			return err
		}
		return r.finishSource(ctx, s, target)
	}
	if weak, problem := checkSecret(string(value)); problem != "" {
		s.credentials = fails(refusedSecret(weak), "spec.secret.fromSecret: the value of key %q in Secret %q %s", ref.Key, ref.Name, problem)
		return r.write(ctx, s, s.entry)
	}
	if target == nil || s.credentials.decided() {
		return r.activate(ctx, s, string(value), source)
	}
	return r.deliver(ctx, s, target, string(value), source)
}

// finishSource is what is left to do when a secret from a source, and its copy if there is to be one, are in force.
func (r *clientReconciler) finishSource(ctx context.Context, s *clientScope, target *secretTarget) error {
	mounted, keep := s.client.Spec.Secret.FromSecret.Name, []string{s.client.Spec.Secret.FromSecret.Name}
	if target != nil {
		mounted, keep = target.spec.Name, append(keep, target.spec.Name)
	}
	s.credentials = secretReady(mounted)
	return r.removeSecrets(ctx, s.client, keep...)
}

// activate serves a secret that needs no Secret to be written.
func (r *clientReconciler) activate(ctx context.Context, s *clientScope, value, source string) error {
	c := credentialOf(s.document.Credentials, value)
	if c == nil {
		fresh, err := newCredential(value, registration.CredentialActive, r.now(), r.random)
		if err != nil {
			return err
		}
		c = &fresh
	}
	refused := s.credentials
	s.document.Credentials = activated(*c, source)
	if err := r.write(ctx, s, s.entry); err != nil {
		return err
	}
	if refused.decided() { // the target cannot be written, which is no reason not to serve
		return nil
	}
	return r.finishSource(ctx, s, nil)
}

// forbiddenSource says why a Secret must not be a client's secret; empty: it may. What is read is copied, if a target is set, to where others may
// read it, and whoever may write OAuthClients need not be one who may read every Secret.
func forbiddenSource(secret *corev1.Secret, reader types.UID) string {
	owner := clientOwner(secret)
	switch {
	case strings.HasPrefix(string(secret.Type), "kubernetes.io/") && secret.Type != corev1.SecretTypeBasicAuth,
		secret.Type == corev1.SecretTypeBootstrapToken:
		return fmt.Sprintf("is of the type %s: name one that was made for this client", secret.Type)
	case owner != nil && owner.UID != reader, owner == nil && secret.Labels[workload.ManagedByLabel] == workload.ManagedBy:
		return "is the operator's own: name one that was made for this client"
	}
	return ""
}

// deliver serves the hash, writes the target and makes the credential Active. source is what the value was read from, if not from the target.
func (r *clientReconciler) deliver(ctx context.Context, s *clientScope, target *secretTarget, value, source string) error {
	c := credentialOf(s.document.Credentials, value)
	if c == nil {
		pending, err := newCredential(value, registration.CredentialPending, r.now(), r.random)
		if err != nil {
			return err
		}
		s.document.Credentials = withPending(s.document.Credentials, pending)
		c = &pending
	}
	credential := *c
	if err := r.write(ctx, s, s.entry); err != nil {
		return err
	}
	written, err := r.writeTarget(ctx, s, target, value)
	if err != nil {
		return err
	}
	if source != "" {
		source += " "
	}
	s.document.Credentials = activated(credential, source+sourceOf(written, ""))
	if err := r.write(ctx, s, s.entry); err != nil {
		return err
	}
	if source != "" {
		return r.finishSource(ctx, s, target)
	}
	s.credentials = secretReady(target.spec.Name)
	return r.removeSecrets(ctx, s.client, target.spec.Name)
}

// secretTarget is the Secret that the workload mounts: what it is to be, and what is there.
type secretTarget struct {
	spec     *v1alpha1.SecretTarget
	content  targetContent
	metadata *metav1.PartialObjectMetadata // nil: no such Secret
	ours     bool                          // else somebody who may write it has marked it for us
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

// copies is holds for the source of a value that was read elsewhere. Where there is to be no copy, none must have been made.
func (t *secretTarget) copies(source string) bool {
	_, copied, made := strings.Cut(source, " ")
	if t == nil {
		return !made
	}
	return made && t.holds(copied)
}

// findTarget looks at the target's metadata; nil if there is to be none. A Secret that is neither ours nor marked for us is left alone, which
// the condition says.
func (r *clientReconciler) findTarget(ctx context.Context, s *clientScope) (*secretTarget, error) {
	spec := compile.SecretTarget(s.client)
	if spec == nil {
		return nil, nil
	}
	labels := map[string]string{workload.ManagedByLabel: workload.ManagedBy}
	maps.Copy(labels, spec.Labels)
	target := &secretTarget{spec: spec, content: targetContent{
		labels: labels, annotations: spec.Annotations, data: compile.SecretContent(s.document, s.at.document.Issuer),
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
	owner := clientOwner(metadata)
	switch {
	case owner != nil && owner.UID == s.client.UID:
		target.ours = true
	case metadata.Annotations[v1alpha1.AdoptAnnotation] == s.client.Name: // claimTarget takes it over
	case owner != nil && owner.Name == s.client.Name:
		s.credentials = waits("Secret %q belongs to an OAuthClient of this name that was deleted; waiting until the Secret is removed too", spec.Name)
	default:
		s.credentials = fails(v1alpha1.ReasonSecretExists,
			"Secret %q exists and is not this client's: remove it, or name another in spec.secret.target.name, or annotate it with %s=%s to have it taken over",
			spec.Name, v1alpha1.AdoptAnnotation, s.client.Name)
	}
	return target, nil
}

// valueToKeep is the secret that need not be replaced; empty if a new one has to be made. A value in our Secret is kept if it is one of the
// client's, or if no document says what the client's are (it was lost). One that somebody edited is not: it is no random value of ours.
func (r *clientReconciler) valueToKeep(ctx context.Context, s *clientScope, target *secretTarget) (string, error) {
	if target.metadata == nil {
		if err := r.reallyMissing(ctx, s, target.spec.Name); err != nil {
			return "", err
		}
		return r.valueElsewhere(ctx, s)
	}
	var secret corev1.Secret
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(target.metadata), &secret); err != nil {
		return "", err // gone meanwhile, too: look again
	}
	if secret.ResourceVersion != target.metadata.ResourceVersion {
		return "", apierrors.NewConflict(corev1.Resource("secrets"), secret.Name, fmt.Errorf("it changed while it was read"))
	}
	value := string(secret.Data[compile.SecretKeyClientSecret])
	switch {
	case target.ours && (credentialOf(s.document.Credentials, value) != nil):
		return value, nil
	case target.ours && len(s.document.Credentials) > 0 || value == "":
		return "", nil
	}
	weak, problem := checkSecret(value)
	switch {
	case problem != "" && target.ours:
		return "", nil // nothing that we wrote or adopted
	case problem != "":
		s.credentials = fails(refusedSecret(weak), "Secret %q: the value of key %q %s", secret.Name, compile.SecretKeyClientSecret, problem)
		return "", nil
	}
	return value, nil
}

// reallyMissing asks the API server for the target of a client that has a credential: a cache that lags behind must not make us replace it.
func (r *clientReconciler) reallyMissing(ctx context.Context, s *clientScope, name string) error {
	if len(s.document.Credentials) == 0 {
		return nil
	}
	err := r.live.Get(ctx, client.ObjectKey{Namespace: s.client.Namespace, Name: name}, secretMetadata())
	if err == nil {
		return apierrors.NewConflict(corev1.Resource("secrets"), name, errors.New("the cache does not know it yet"))
	}
	return client.IgnoreNotFound(err)
}

// valueElsewhere is the client's secret in a Secret of another name: the target was renamed.
func (r *clientReconciler) valueElsewhere(ctx context.Context, s *clientScope) (string, error) {
	owned, err := r.secretsOf(ctx, s.client)
	if err != nil {
		return "", err
	}
	for i := range owned {
		var secret corev1.Secret
		if err := r.live.Get(ctx, client.ObjectKeyFromObject(&owned[i]), &secret); err != nil {
			if apierrors.IsNotFound(err) {
				continue
			}
			return "", err
		}
		value := string(secret.Data[compile.SecretKeyClientSecret])
		if c := credentialOf(s.document.Credentials, value); c != nil && c.State == registration.CredentialActive {
			return value, nil
		}
	}
	return "", nil
}

// writeTarget makes the Secret as it is to be, onto the version that was seen. A new one is created empty first: creating is what fails when
// somebody else was faster, and applying is what takes only the fields that are ours.
func (r *clientReconciler) writeTarget(ctx context.Context, s *clientScope, target *secretTarget, value string) (metav1.Object, error) {
	version, err := r.claimTarget(ctx, s, target)
	if err != nil {
		return nil, err
	}
	annotations := map[string]string{contentAnnotation: target.content.hash()}
	maps.Copy(annotations, target.content.annotations)
	data := map[string][]byte{compile.SecretKeyClientSecret: []byte(value)}
	for key, text := range target.content.data {
		data[key] = []byte(text)
	}
	secret := corev1ac.Secret(target.spec.Name, s.client.Namespace).
		WithResourceVersion(version).
		WithLabels(target.content.labels).
		WithAnnotations(annotations).
		WithOwnerReferences(metav1ac.OwnerReference().WithAPIVersion(v1alpha1.GroupVersion.String()).WithKind(kindClient).
			WithName(s.client.Name).WithUID(s.client.UID).WithController(true)).
		WithData(data)
	if err := r.Apply(ctx, secret, client.FieldOwner(FieldManager), client.ForceOwnership); err != nil {
		return nil, fmt.Errorf("writing Secret %s: %w", target.spec.Name, err)
	}
	return &metav1.ObjectMeta{UID: *secret.UID, ResourceVersion: *secret.ResourceVersion}, nil
}

// claimTarget makes the Secret ours and returns the version onto which to write.
func (r *clientReconciler) claimTarget(ctx context.Context, s *clientScope, target *secretTarget) (version string, err error) {
	controller := true
	owner := []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: kindClient, Name: s.client.Name, UID: s.client.UID, Controller: &controller,
	}}
	if target.metadata == nil {
		empty := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.client.Namespace, Name: target.spec.Name, OwnerReferences: owner},
		}
		if err := r.Create(ctx, empty, client.FieldOwner(FieldManager)); err != nil {
			return "", fmt.Errorf("creating Secret %s: %w", target.spec.Name, err)
		}
		return empty.ResourceVersion, nil
	}
	if target.ours {
		return target.metadata.ResourceVersion, nil
	}
	var secret corev1.Secret
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(target.metadata), &secret); err != nil {
		return "", err
	}
	secret.ResourceVersion, secret.OwnerReferences = target.metadata.ResourceVersion, owner
	delete(secret.Annotations, v1alpha1.AdoptAnnotation) // it was for once: a later client of this name has to be allowed anew
	if err := r.Update(ctx, &secret, client.FieldOwner(FieldManager)); err != nil {
		return "", fmt.Errorf("taking over Secret %s: %w", target.spec.Name, err)
	}
	return secret.ResourceVersion, nil
}

// removeSecrets removes the Secrets of the client but those that it keeps: the target was renamed, or there is none any more. One that became the
// source is kept, since sources are not ours to remove.
func (r *clientReconciler) removeSecrets(ctx context.Context, c *v1alpha1.OAuthClient, keep ...string) error {
	owned, err := r.secretsOf(ctx, c)
	if err != nil {
		return err
	}
	for i := range owned {
		m := &owned[i]
		if slices.Contains(keep, m.Name) {
			continue
		}
		if err := r.Delete(ctx, m, client.Preconditions{UID: &m.UID, ResourceVersion: &m.ResourceVersion}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("removing Secret %s: %w", m.Name, err)
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

func secretReady(name string) verdict {
	return holds(v1alpha1.ReasonSecretReady, "Secret \""+name+"\" holds the credential")
}

func refusedSecret(weak bool) string {
	if weak {
		return v1alpha1.ReasonWeakSecret
	}
	return v1alpha1.ReasonInvalid
}
