package controllers

import (
	"cmp"
	"context"
	"errors"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/names"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

type clientReconciler struct {
	*operator
	pending    *pendingSecrets
	configMaps *seenConfigMaps
	repaired   *repairedSecrets
}

// clientPass is what the steps of a pass find out about one OAuthClient.
type clientPass struct {
	client    *v1alpha1.OAuthClient
	failed    *failure
	server    *resolvedServer
	document  documents.Client        // to be written; keepCredentials changes its credentials
	nameEntry *internalv1alpha1.Entry // the Entry of the client id, which may be another object's
	entry     *internalv1alpha1.Entry // the Entry that the client owns, or nil
	scopes    resolvedScopes
	replicas  []replica
	uses      []internalv1alpha1.CredentialUse
	requeueAt time.Time
	// keysErr is why the keys could not be read. The document is written all the same, with those that
	// were read before: it may be that the client is suspended.
	keysErr error
	// nextRotation is when the secret is replaced next; zero: it is not known that it will be.
	nextRotation time.Time

	decision policy.Decision // from accept
	// grants are the grant types that the rule has not ended, and withoutUsers those of them by which
	// there are no tokens, since no user can sign in; from checkUsers.
	grants, withoutUsers []string

	accepted    condition
	resolved    condition
	keys        condition // from resolveKeys; not set for a client without keys of its own
	credentials condition
	configMap   condition // why there is no ConfigMap, if so
}

// Reconcile gives an OAuthClient its client id, writes its document, and keeps its credentials,
// their Secret and the ConfigMap.
func (r *clientReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	object := reconciled{compile.KindClient, request.NamespacedName}
	if wait := r.writer.echoes.postpone(object); wait > 0 {
		return ctrl.Result{RequeueAfter: wait, Priority: new(firstPriority)}, nil
	}
	defer r.writer.echoes.begin(object)()
	var c v1alpha1.OAuthClient
	if exists, err := r.getUndeleted(ctx, request.NamespacedName, &c); err != nil {
		return ctrl.Result{}, err
	} else if !exists {
		r.pending.forget(request.NamespacedName)
		r.configMaps.forget(request.NamespacedName)
		r.repaired.forget(request.NamespacedName)
		return r.reconcileDeleted(ctx, compile.KindClient, request.NamespacedName)
	}
	s := &clientPass{client: &c}
	s.failed = runSteps(withCause(ctx, &c), s, []step[*clientPass]{
		{conditionType: v1alpha1.ConditionAccepted, run: r.accept},
		{conditionType: v1alpha1.ConditionCredentialsReady, run: r.resolveKeys},
		{conditionType: v1alpha1.ConditionProgrammed, run: r.updateEntry},
		{conditionType: v1alpha1.ConditionCredentialsReady, run: func(context.Context, *clientPass) error { return s.keysErr }},
		{conditionType: v1alpha1.ConditionResolvedRefs, run: r.checkScopes},
		{conditionType: v1alpha1.ConditionCredentialsReady, run: r.keepCredentials},
		{conditionType: v1alpha1.ConditionCredentialsReady, run: r.keepConfigMap},
		{conditionType: v1alpha1.ConditionReady, run: r.checkUsers},
		{conditionType: v1alpha1.ConditionProgrammed, run: r.readReplicas, runAfterFailure: true},
	})
	return r.finishReconcile(&c, s.failed, &s.requeueAt, func() error { return r.writeStatus(ctx, s) })
}

// accept decides whether the server accepts the client, and reads its Entry. A client that is not
// accepted gets no Entry, or any object could keep any id from others. One that has an Entry keeps
// it, and its document is kept current: the token server refuses it by the same policy.
func (r *clientReconciler) accept(ctx context.Context, s *clientPass) (err error) {
	if err := r.entries.DeleteOrphaned(ctx, compile.OwnerOf(s.client)); err != nil {
		return err
	}
	s.server, s.accepted, err = r.resolveServer(ctx, names.ServerOf(s.client), s.client.Namespace, true)
	if err != nil || s.accepted.isSet() {
		return err
	}
	s.document = compile.Client(s.client, nil)
	if s.nameEntry, err = r.readNameEntry(ctx, s); err != nil {
		return err
	}
	if s.nameEntry != nil && s.nameEntry.Spec.Owner.UID == s.client.UID {
		s.entry = s.nameEntry
	}
	s.decision = policy.EvaluateClient(s.server.document, s.server.namespaceLabels, s.document, r.now())
	if !s.decision.Accepted {
		s.accepted = notAllowed(s.decision)
		return nil
	}
	taken, err := r.entries.IsTaken(ctx, s.server.withNames(), s.name(), s.client, s.nameEntry)
	if err != nil {
		return err
	}
	if taken {
		s.accepted = clientIDTakenCondition(s)
		return nil
	}
	s.accepted = trueCondition(v1alpha1.ReasonAccepted, "rule \""+s.decision.Rule+"\" of the server allows it")
	return nil
}

// readNameEntry reads the Entry of the client id. If the cache has none, a client that had one must
// know whether it is lost: else it would get another secret. One that is new, and creates an Entry
// although there is one, only fails and tries again.
func (r *clientReconciler) readNameEntry(ctx context.Context, s *clientPass) (*internalv1alpha1.Entry, error) {
	if s.client.Status.ObservedGeneration == 0 {
		return r.entries.Get(ctx, s.server.object, s.name())
	}
	return r.entries.GetConfirmed(ctx, s.server.object, s.name())
}

func (s *clientPass) name() compile.Name {
	return compile.Name{Space: internalv1alpha1.SpaceIdentity, Value: s.document.ID}
}

// updateEntry writes the document, with the credentials that it had, into the Entry of the client
// id if there is one. An Entry of a client that does not exist any more is replaced.
func (r *clientReconciler) updateEntry(ctx context.Context, s *clientPass) error {
	if !s.isServed() {
		return nil
	}
	var revoked []string
	var refusedMethod string
	if s.entry != nil {
		if stored, err := decodeEntry[documents.Client](s.entry); err == nil {
			s.document.Credentials, s.document.RevokedCredentials, revoked = revoke(stored.Credentials, stored.RevokedCredentials, revokedIDs(s.client))
			refusedMethod = r.keepPreviousAuth(s, stored)
		}
	}
	if s.nameEntry == nil {
		return nil // keepCredentials creates it, with the credential in it
	}
	err := r.writeDocument(ctx, s, s.nameEntry)
	if errors.Is(err, names.ErrTaken) {
		s.accepted = clientIDTakenCondition(s)
		return nil
	}
	if err == nil {
		r.recordRevocations(s.client, revoked)
		r.recordRefusedMethod(s.client, refusedMethod)
	}
	return err
}

// clientIDTakenCondition names spec.clientID also if that is empty, since it cannot be changed.
func clientIDTakenCondition(s *clientPass) condition {
	return falseCondition(v1alpha1.ReasonClientIDTaken,
		"spec.clientID: another object of the server has the name %q: delete this client and create it with another clientID, which is immutable", s.document.ID)
}

// writeDocument writes the document into the Entry that was read, or creates it if that is nil.
func (r *clientReconciler) writeDocument(ctx context.Context, s *clientPass, seen *internalv1alpha1.Entry) error {
	e, err := r.ensureDocument(ctx, s, seen)
	if isUpgradePending(err) {
		err = cmp.Or(r.narrowInOldFormat(ctx, s), err)
	}
	if err != nil {
		return err
	}
	s.entry = e
	return r.entries.DeleteOthers(ctx, compile.OwnerOf(s.client), e)
}

// isServed reports whether the client has an Entry or may get one.
func (s *clientPass) isServed() bool { return s.accepted.isTrue() || s.entry != nil }

// checkScopes finds the scopes that the client cannot have. Token servers leave them out.
func (r *clientReconciler) checkScopes(ctx context.Context, s *clientPass) (err error) {
	if s.server == nil {
		return nil
	}
	s.scopes, err = r.resolveScopes(ctx, s.server, s.document)
	s.resolved = scopesCondition(s.scopes)
	return err
}

// readReplicas reads which token servers run, and which credentials of the client they saw used.
func (r *clientReconciler) readReplicas(ctx context.Context, s *clientPass) (err error) {
	if s.server == nil {
		return nil
	}
	if s.replicas, err = r.liveReplicas(ctx, s.server.object); err != nil {
		return err
	}
	s.uses, err = r.listUses(ctx, s.server.object, s.client.UID)
	return err
}
