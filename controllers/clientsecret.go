package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// generateSecret has the target hold a generated secret. The order is the one in which no step
// leaves a workload with a secret that is refused: a dry run finds out whether the Secret can be
// written, the hash is served as Pending, then the Secret is written, then the credential becomes
// Active. While the Secret cannot be written, nothing is, and what Pods hold stays in force.
func (r *clientReconciler) generateSecret(ctx context.Context, s *clientScope) error {
	target, err := r.findTarget(ctx, s)
	if err != nil {
		return err
	}
	if s.credentials.isSet() {
		return r.write(ctx, s, s.entry) // the id is the client's even so; a document that was written in accept is not written again
	}
	active := inState(s.document.Credentials, documents.CredentialActive)
	if active != nil && target.holds(active.Source) {
		s.document.Credentials = activated(*active, active.Source)
		if err := r.write(ctx, s, s.entry); err != nil {
			return err
		}
		r.pending.forget(client.ObjectKeyFromObject(s.client))
		s.credentials = secretReady(target.spec.Name)
		return r.removeSecrets(ctx, s.client, target.spec.Name)
	}
	value, err := r.valueToKeep(ctx, s, target)
	if err != nil {
		return err
	}
	if s.credentials.isSet() {
		return r.write(ctx, s, s.entry)
	}
	if value == "" {
		if value, err = r.pending.value(s.client, r.random); err != nil {
			return err
		}
	}
	return r.deliver(ctx, s, target, value, "")
}

// takeSecret serves the secret that another wrote, and copies it if a target is set. It is in
// force as soon as it is read. While the source is missing or refused, what was served before
// stays.
func (r *clientReconciler) takeSecret(ctx context.Context, s *clientScope) error {
	ref := *s.client.Spec.Secret.FromSecret
	target, err := r.findTarget(ctx, s)
	if err != nil {
		return err
	}
	known := ""
	active := inState(s.document.Credentials, documents.CredentialActive)
	if active != nil && target.copies(active.Source) {
		known = sourcePart(active.Source)
	}
	source, value, refusal, err := r.readSecretKey(ctx, secretRead{
		namespace: s.client.Namespace, ref: ref, field: "spec.secret.fromSecret", detail: ref.Key, known: known,
		forbidden: forbiddenType,
	})
	if err != nil {
		return err
	}
	if refusal.isSet() {
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
		s.credentials = falseCondition(refusedSecret(weak), "spec.secret.fromSecret: the value of key %q in Secret %q %s", ref.Key, ref.Name, problem)
		return r.write(ctx, s, s.entry)
	}
	if target == nil || s.credentials.isSet() {
		return r.activate(ctx, s, string(value), source)
	}
	return r.deliver(ctx, s, target, string(value), source)
}

// finishSource is what is left to do when a secret from a source, and its copy if there is to be
// one, are in force.
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
		fresh, err := newCredential(value, documents.CredentialActive, r.now(), r.random)
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
	if refused.isSet() { // the target cannot be written, which is no reason not to serve
		return nil
	}
	return r.finishSource(ctx, s, nil)
}

// forbiddenType says why a Secret must not be a client's secret, by its type; empty: it may. What
// is read is copied, if a target is set, to where others may read it, and the author of an
// OAuthClient need not be permitted to read every Secret.
func forbiddenType(secret *corev1.Secret) string {
	if strings.HasPrefix(string(secret.Type), "kubernetes.io/") && secret.Type != corev1.SecretTypeBasicAuth ||
		secret.Type == corev1.SecretTypeBootstrapToken {
		return fmt.Sprintf("is of the type %s: name one that was made for this client", secret.Type)
	}
	return ""
}

// deliver serves the hash, writes the target and makes the credential Active. source is what the
// value was read from, if not from the target: then its readers there use it already, so it is
// served whether or not the target can be written.
func (r *clientReconciler) deliver(ctx context.Context, s *clientScope, target *secretTarget, value, source string) error {
	c := credentialOf(s.document.Credentials, value)
	if c == nil {
		if source == "" {
			if err := r.tryTarget(ctx, s, target, value); err != nil {
				return err
			}
		}
		pending, err := newCredential(value, documents.CredentialPending, r.now(), r.random)
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
	written, err := r.writeTarget(ctx, s.client, target, value)
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
	r.pending.forget(client.ObjectKeyFromObject(s.client))
	if source != "" {
		return r.finishSource(ctx, s, target)
	}
	s.credentials = secretReady(target.spec.Name)
	return r.removeSecrets(ctx, s.client, target.spec.Name)
}

func changedMeanwhile(secret string) error {
	return apierrors.NewConflict(corev1.Resource("secrets"), secret, errors.New("it changed while it was read"))
}

// valueToKeep is the secret that need not be replaced; empty if a new one has to be made. A value
// in our Secret is kept if it is one of the client's, or if no document says what the client's are
// (it was lost). One that was edited is not: it is no random value of ours.
func (r *clientReconciler) valueToKeep(ctx context.Context, s *clientScope, target *secretTarget) (string, error) {
	if target.metadata == nil {
		if err := r.reallyMissing(ctx, s, target.spec.Name); err != nil {
			return "", err
		}
		return r.valueElsewhere(ctx, s)
	}
	secret, err := r.readSecret(ctx, client.ObjectKeyFromObject(target.metadata))
	if err != nil {
		return "", err // gone meanwhile, too: look again
	}
	if secret.ResourceVersion != target.metadata.ResourceVersion {
		return "", changedMeanwhile(secret.Name)
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
		s.credentials = falseCondition(refusedSecret(weak), "Secret %q: the value of key %q %s", secret.Name, compile.SecretKeyClientSecret, problem)
		return "", nil
	}
	return value, nil
}

// reallyMissing asks the API server for the target of a client that has a credential: a cache that
// lags behind must not make us replace it.
func (r *clientReconciler) reallyMissing(ctx context.Context, s *clientScope, name string) error {
	if len(s.document.Credentials) == 0 {
		return nil
	}
	err := r.apiReader.Get(ctx, client.ObjectKey{Namespace: s.client.Namespace, Name: name}, secretMetadata())
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
		secret, err := r.readSecret(ctx, client.ObjectKeyFromObject(&owned[i]))
		if err != nil {
			if apierrors.IsNotFound(err) {
				continue
			}
			return "", err
		}
		value := string(secret.Data[compile.SecretKeyClientSecret])
		if c := credentialOf(s.document.Credentials, value); c != nil && c.State == documents.CredentialActive {
			return value, nil
		}
	}
	return "", nil
}

func secretReady(name string) condition {
	return trueCondition(v1alpha1.ReasonSecretReady, "Secret \""+name+"\" holds the credential")
}

func refusedSecret(weak bool) string {
	if weak {
		return v1alpha1.ReasonWeakSecret
	}
	return v1alpha1.ReasonInvalid
}
