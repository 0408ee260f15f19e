package controllers

import (
	"cmp"
	"context"
	"errors"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

type clientReconciler struct {
	*operator
	pending *pendingSecrets
}

// clientScope is what the steps find out about one OAuthClient.
type clientScope struct {
	client    *v1alpha1.OAuthClient
	failed    *failure
	server    *resolvedServer
	document  documents.Client        // as it is to be served; keepCredentials changes its credentials
	found     *internalv1alpha1.Entry // of the id; it may be another object's
	entry     *internalv1alpha1.Entry // as it is served; nil until it is
	scopes    resolvedScopes
	replicas  []replica
	uses      []internalv1alpha1.CredentialUse
	requeueAt time.Time

	accepted    condition
	resolved    condition
	credentials condition
}

// Reconcile serves an OAuthClient: its id is its own, its document is current, its Secret holds its
// credential.
func (r *clientReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var c v1alpha1.OAuthClient
	if err := r.Get(ctx, request.NamespacedName, &c); err != nil {
		if client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, err
		}
		r.pending.forget(request.NamespacedName)
		return r.done(kindClient, request.NamespacedName, r.forget(ctx, kindClient, request.NamespacedName))
	}
	if !c.DeletionTimestamp.IsZero() {
		r.pending.forget(request.NamespacedName)
		return r.done(kindClient, request.NamespacedName, r.forget(ctx, kindClient, request.NamespacedName))
	}
	s := &clientScope{client: &c}
	s.failed = runSteps(withCause(ctx, &c), s, []step[*clientScope]{
		{conditionType: v1alpha1.ConditionAccepted, run: r.forgetNamesakes},
		{conditionType: v1alpha1.ConditionAccepted, run: r.accept},
		{conditionType: v1alpha1.ConditionProgrammed, run: r.claimID},
		{conditionType: v1alpha1.ConditionResolvedRefs, run: r.resolve},
		{conditionType: v1alpha1.ConditionCredentialsReady, run: r.keepCredentials},
		{conditionType: v1alpha1.ConditionProgrammed, run: r.observe, runAfterFailure: true},
	})
	return r.finish(&c, kindClient, s.failed, &s.requeueAt, func() error { return r.writeStatus(ctx, s) })
}

// forgetNamesakes removes what is served for objects that had this one's name before it.
func (r *clientReconciler) forgetNamesakes(ctx context.Context, s *clientScope) error {
	return r.forgetFormer(ctx, compile.Owner(kindClient, s.client))
}

// accept asks policy, and looks up what is served. A client that is not accepted gets no Entry, or
// any object could keep any id from others; one that has an Entry keeps it and has it kept current:
// policy then refuses it in the token server too.
func (r *clientReconciler) accept(ctx context.Context, s *clientScope) (err error) {
	s.server, s.accepted, err = r.resolveServer(ctx, serverOfClient(s.client), s.client.Namespace, "spec.serverRef", true)
	if err != nil || s.accepted.isSet() {
		return err
	}
	s.document = compile.Client(s.client, nil)
	if s.found, err = r.getEntryConfirmed(ctx, s.server.object, s.name()); err != nil {
		return err
	}
	if s.found != nil && s.found.Spec.Owner.UID == s.client.UID {
		s.entry = s.found
	}
	d := policy.EvaluateClient(s.server.document, s.server.namespaceLabels, s.document)
	if !d.Accepted {
		s.accepted = falseCondition(v1alpha1.ReasonNotAllowedByServer, "%s (ask for less, or have the server's owner allow it in spec.allowedClients)", denial(d))
		return nil
	}
	taken, err := r.isTaken(ctx, s.server, s.name(), s.client, s.found)
	if err != nil {
		return err
	}
	if taken {
		s.accepted = clientIDTaken(s)
		return nil
	}
	s.accepted = trueCondition(v1alpha1.ReasonAccepted, "rule \""+d.Rule+"\" of the server allows it")
	return nil
}

func (s *clientScope) name() compile.Name {
	return compile.Name{Space: internalv1alpha1.SpaceIdentity, Value: s.document.ID}
}

// claimID brings the Entry up to date but for its credentials; that of a client which does not
// exist any more is replaced.
func (r *clientReconciler) claimID(ctx context.Context, s *clientScope) error {
	if !s.served() {
		return nil
	}
	if s.entry != nil {
		if stored, err := decodeEntry[documents.Client](s.entry); err == nil {
			s.document.Credentials = stored.Credentials
		}
	}
	if s.document.AuthMethod == string(v1alpha1.AuthMethodNone) {
		s.document.Credentials = nil
	}
	if s.found == nil {
		return nil // keepCredentials creates it, with the credential in it
	}
	err := r.write(ctx, s, s.found)
	if errors.Is(err, errTaken) {
		s.accepted = clientIDTaken(s)
		return nil
	}
	return err
}

// clientIDTaken says what to change. The field may be empty, and cannot be changed in the object
// that is there.
func clientIDTaken(s *clientScope) condition {
	return falseCondition(v1alpha1.ReasonClientIDTaken,
		"spec.clientID: another object of the server has the name %q: delete this client and create it with another clientID, which is immutable", s.document.ID)
}

// write makes the document of s the one that is served, onto the Entry that was seen.
func (r *clientReconciler) write(ctx context.Context, s *clientScope, seen *internalv1alpha1.Entry) error {
	text, err := documents.Encode(s.document)
	if err != nil {
		return err
	}
	owner := compile.Owner(kindClient, s.client)
	e, err := r.ensureEntry(ctx, compile.NewEntry(s.server.object, s.name(), owner, documents.Format(s.document), text), seen)
	if isUpgradePending(err) && s.client.Spec.Suspended {
		err = cmp.Or(r.suspendMeanwhile(ctx, s), err)
	}
	if err != nil {
		return err
	}
	s.entry = e
	return r.deleteOtherEntries(ctx, owner, e)
}

// suspendMeanwhile suspends a client whose document cannot be replaced yet. An error is one that
// must not wait for the upgrade.
func (r *clientReconciler) suspendMeanwhile(ctx context.Context, s *clientScope) error {
	if s.entry == nil {
		return nil
	}
	old, err := decodeEntry[documents.Client](s.entry)
	if err != nil || old.Suspended {
		return err
	}
	old.Suspended = true
	e, err := r.ensureDocumentInOldFormat(ctx, s.entry, old)
	if err == nil {
		s.entry = e
	}
	return err
}

// served says whether the client has, or may get, an Entry.
func (s *clientScope) served() bool { return s.accepted.isTrue() || s.entry != nil }

// resolve finds the scopes that the client may not have; they are left out, the rest works.
func (r *clientReconciler) resolve(ctx context.Context, s *clientScope) (err error) {
	if s.server == nil {
		return nil
	}
	s.scopes, err = r.resolveScopes(ctx, s.server, s.document)
	s.resolved = scopesVerdict(s.scopes)
	return err
}

// observe looks at the token servers, and at what they tell of the client.
func (r *clientReconciler) observe(ctx context.Context, s *clientScope) (err error) {
	if s.server == nil {
		return nil
	}
	if s.replicas, err = r.liveReplicas(ctx, s.server.object); err != nil {
		return err
	}
	s.uses, err = r.usesOf(ctx, s.server.object, s.client.UID)
	return err
}
