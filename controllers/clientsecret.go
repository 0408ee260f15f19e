package controllers

import (
	"context"
	"errors"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// keepCredentials observes the secret of a client, plans what to write, and writes it. It also
// creates the Entry of a new client. Of two passes that create it, one fails with AlreadyExists.
func (r *clientReconciler) keepCredentials(ctx context.Context, s *clientPass) error {
	if !s.isServed() {
		return nil
	}
	state, err := r.observeSecret(ctx, s)
	if err != nil {
		return err
	}
	plan, err := planCredentials(state, r.now(), r.random)
	if err != nil {
		return err
	}
	s.requeueAt = earliest(s.requeueAt, r.repaired.limit(s.client, state.target, &plan, r.now()))
	return r.executePlan(ctx, s, state.target, plan)
}

// observeSecret looks at the Secrets of a client. It reads metadata from the cache, and from the
// API server the content that the plan needs.
func (r *clientReconciler) observeSecret(ctx context.Context, s *clientPass) (state secretState, err error) {
	if !s.client.Spec.TokenEndpointAuthMethod.UsesSecret() {
		return secretState{withoutSecret: s.document.AuthMethod, credentials: s.document.Credentials}, nil
	}
	state.uid, state.rotation = s.client.UID, compile.SecretRotationOf(s.client)
	state.credentials, state.revoked = s.document.Credentials, s.document.RevokedCredentials
	if state.uses, err = r.observeUses(ctx, s); err != nil {
		return state, err
	}
	if state.target, state.targetProblem, err = r.findTarget(ctx, s); err != nil {
		return state, err
	}
	if state.fromSecret = compile.FromSecretKey(s.client); state.fromSecret != nil {
		if state.sourceProblem, err = r.findServerSecretProblem(ctx, *state.fromSecret); err != nil || state.sourceProblem.isSet() {
			return state, err
		}
		var value []byte
		state.source, value, state.sourceProblem, err = r.readSecretKey(ctx, *state.fromSecret, state.fromSecret.Ref.Key, state.knownSource())
		state.sourceValue = string(value)
		return state, err
	}
	state.pending = r.pending.get(s.client)
	if state.targetProblem.isSet() || state.isTargetCurrent() {
		return state, nil
	}
	if state.target.metadata == nil {
		if err := r.confirmMissing(ctx, s, state.target.spec.Name); err != nil {
			return state, err
		}
		state.previous, err = r.readPreviousSecret(ctx, s, "")
		return state, err
	}
	secret, err := r.readSecret(ctx, client.ObjectKeyFromObject(state.target.metadata))
	if err != nil {
		return state, err // also if it was deleted meanwhile: the next pass finds that
	}
	if secret.ResourceVersion != state.target.metadata.ResourceVersion {
		return state, newChangedError(state.target.metadata)
	}
	state.stored = string(secret.Data[compile.SecretKeyClientSecret])
	if state.target.isOwn { // another one may hold the secret, if this one was the target before
		state.previous, err = r.readPreviousSecret(ctx, s, state.target.metadata.UID)
	}
	return state, err
}

// executePlan writes what the plan says, in its order.
func (r *clientReconciler) executePlan(ctx context.Context, s *clientPass, target *secretTarget, plan credentialPlan) error {
	s.requeueAt = earliest(s.requeueAt, earliest(plan.waitUntil, nextEnd(plan.credentials, plan.uses, plan.rotation.Overlap)))
	if plan.isGenerated {
		r.pending.set(s.client, plan.secret)
	}
	if plan.dryRun {
		if err := r.dryRunTarget(ctx, s.client, target, plan.secret); err != nil {
			return err
		}
	}
	s.document.Credentials = plan.credentials
	if err := r.writeDocument(ctx, s, s.entry); err != nil {
		return err
	}
	if plan.secret != "" {
		written, err := r.writeTarget(ctx, s.client, target, plan.secret)
		if err != nil {
			return err
		}
		s.document.Credentials = plan.credentialsAfterWrite(versionOf(written, ""), r.now())
		if err := r.writeDocument(ctx, s, s.entry); err != nil {
			return err
		}
	}
	if plan.condition.isTrue() {
		r.pending.forget(client.ObjectKeyFromObject(s.client))
	}
	s.credentials = plan.condition
	if s.keys.isSet() {
		s.credentials = s.keys
	}
	if unknown := findUnknown(s.document.RevokedCredentials, revokedIDs(s.client)); len(unknown) > 0 {
		s.credentials.message += "; spec.secret.revokedCredentials: the client has no credential " + quoted(unknown) + ", and none that was revoked"
	}
	r.scheduleNext(s, plan)
	r.recordRotation(s.client, plan, s.document.Credentials)
	if !plan.deletesOthers {
		return nil
	}
	overlap := compile.Overlap(s.client)
	if s.document.AuthMethod == string(v1alpha1.AuthMethodNone) { // no secret of a public client is good
		overlap = 0
	}
	next, err := r.removeSuperseded(ctx, s.client, secretKind, plan.kept, overlap)
	s.requeueAt = earliest(s.requeueAt, next)
	return err
}

// scheduleNext has the next pass over a client come when a credential ends or is to be replaced, and
// records an event about those that end soon and are still used.
func (r *clientReconciler) scheduleNext(s *clientPass, plan credentialPlan) {
	now, rotation := r.now(), plan.rotation
	s.nextRotation = nextRotation(s.document.Credentials, rotation, s.client.UID, now)
	s.requeueAt = earliest(s.requeueAt, nextEnd(s.document.Credentials, plan.uses, rotation.Overlap))
	if s.nextRotation.After(now) { // else it is due, and waits for what the condition says
		s.requeueAt = earliest(s.requeueAt, s.nextRotation)
	}
	used, next := findStillUsed(s.document.Credentials, plan.uses, rotation.Overlap, rotation.MaxOverlap, now)
	s.requeueAt = earliest(s.requeueAt, next)
	for _, credential := range used {
		r.recordStillUsed(s.client, credential)
	}
}

// newChangedError returns the error of an object that has changed since its metadata were read from
// the cache. It is a conflict, so the pass is repeated.
func newChangedError(m *metav1.PartialObjectMetadata) error {
	resource := schema.GroupResource{Resource: strings.ToLower(m.Kind) + "s"}
	return apierrors.NewConflict(resource, m.Name, errors.New("it changed while it was read"))
}

// confirmMissing asks the API server whether the target of a client that has a credential is
// missing: a cache that lags behind must not make the manager replace the secret.
func (r *clientReconciler) confirmMissing(ctx context.Context, s *clientPass, name string) error {
	if len(s.document.Credentials) == 0 {
		return nil
	}
	err := r.apiReader.Get(ctx, client.ObjectKey{Namespace: s.client.Namespace, Name: name}, secretMetadata())
	if err == nil {
		return apierrors.NewConflict(corev1.Resource("secrets"), name, errors.New("the cache does not have it yet"))
	}
	return client.IgnoreNotFound(err)
}

// readPreviousSecret returns the client secret in the Secret that holds the Active credential under
// another name than the target's, whose UID is given, or "" if there is none.
func (r *clientReconciler) readPreviousSecret(ctx context.Context, s *clientPass, target types.UID) (string, error) {
	active := findByState(s.document.Credentials, documents.CredentialActive)
	if active == nil || parseCredentialSource(active.Source).written.uid == target {
		return "", nil
	}
	secrets, err := r.listOwned(ctx, s.client, secretKind)
	if err != nil {
		return "", err
	}
	for i := range secrets {
		if secrets[i].UID != parseCredentialSource(active.Source).written.uid {
			continue
		}
		secret, err := r.readSecret(ctx, client.ObjectKeyFromObject(&secrets[i]))
		if err != nil {
			return "", client.IgnoreNotFound(err)
		}
		return string(secret.Data[compile.SecretKeyClientSecret]), nil
	}
	return "", nil
}
