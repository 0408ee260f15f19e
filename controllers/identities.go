package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	ctrl "sigs.k8s.io/controller-runtime"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/names"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

type identityReconciler struct{ *operator }

// identityPass is what the steps of a pass find out about one OAuthIdentity.
type identityPass struct {
	identity  *v1alpha1.OAuthIdentity
	failed    *failure
	server    *resolvedServer
	document  documents.Identity
	entry     *internalv1alpha1.Entry
	replicas  []replica
	requeueAt time.Time
	accepted  condition
}

// Reconcile writes the document of an OAuthIdentity whose spec says something about the user. Token
// servers write most OAuthIdentities, and nothing is said in those: they have no document and no
// conditions.
func (r *identityReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var identity v1alpha1.OAuthIdentity
	if exists, err := r.getUndeleted(ctx, request.NamespacedName, &identity); err != nil {
		return ctrl.Result{}, err
	} else if !exists {
		return r.reconcileDeleted(ctx, compile.KindIdentity, request.NamespacedName)
	}
	s := &identityPass{identity: &identity}
	s.failed = runSteps(withCause(ctx, &identity), s, []step[*identityPass]{
		{conditionType: v1alpha1.ConditionAccepted, run: r.accept},
		{conditionType: v1alpha1.ConditionAccepted, run: r.writeDocument},
		{conditionType: v1alpha1.ConditionProgrammed, run: r.readReplicas, runAfterFailure: true},
	})
	return r.finishReconcile(&identity, s.failed, &s.requeueAt, func() error { return r.writeStatus(ctx, s) })
}

// accept compiles the document and finds the server.
func (r *identityReconciler) accept(ctx context.Context, s *identityPass) (err error) {
	if err := r.entries.DeleteOrphaned(ctx, compile.OwnerOf(s.identity)); err != nil {
		return err
	}
	var findings compile.Findings
	if s.document, findings = compile.Identity(s.identity); len(findings) > 0 {
		s.accepted = invalidCondition("%s", findings)
		return nil
	}
	if s.identity.Spec.SaysSomething() {
		s.server, s.accepted, err = r.resolveServer(ctx, names.ServerOf(s.identity), s.identity.Namespace, false)
	}
	return err
}

// writeDocument writes the document, or deletes it if nothing is said any more. While the server is not
// accepted, what was written before stays.
func (r *identityReconciler) writeDocument(ctx context.Context, s *identityPass) error {
	owner := compile.OwnerOf(s.identity)
	switch {
	case s.accepted.isSet():
		return nil
	case !s.identity.Spec.SaysSomething():
		return r.entries.DeleteOthers(ctx, owner)
	}
	var err error
	s.entry, err = r.entries.EnsureLatest(ctx, s.server.object, compile.IdentityName(s.document.Subject), owner, s.document)
	if err == nil || asVersionSkew(err) != nil {
		s.accepted = trueCondition(v1alpha1.ReasonAccepted, "the server accepts what spec says about the user")
	}
	if err != nil {
		return err
	}
	return r.entries.DeleteOthers(ctx, owner, s.entry) // of a server of that name that is gone
}

// readReplicas reads which token servers run.
func (r *identityReconciler) readReplicas(ctx context.Context, s *identityPass) (err error) {
	if s.server != nil {
		s.replicas, err = r.liveReplicas(ctx, s.server.object)
	}
	return err
}

// writeStatus writes the conditions and leaves the rest of the status alone, which is the token
// servers'.
func (r *identityReconciler) writeStatus(ctx context.Context, s *identityPass) error {
	before := s.identity.Status.DeepCopy()
	due := r.fillStatus(s)
	status := &s.identity.Status
	if due.After(r.now()) || equality.Semantic.DeepEqual(before, status) {
		return nil
	}
	var changes []jsonPatch
	switch {
	case equality.Semantic.DeepEqual(*before, v1alpha1.OAuthIdentityStatus{}): // there may be none to add to
		changes = []jsonPatch{{"add", "/status", status}}
	case status.ObservedGeneration == 0:
		changes = []jsonPatch{{"remove", "/status/conditions", nil}, {"remove", "/status/observedGeneration", nil}}
	default:
		changes = []jsonPatch{{"add", "/status/conditions", status.Conditions}, {"add", "/status/observedGeneration", status.ObservedGeneration}}
	}
	return r.patchStatus(ctx, s.identity, before.Conditions, changes...)
}

// fillStatus sets the status, and returns when it is due if that is later.
func (r *identityReconciler) fillStatus(s *identityPass) (due time.Time) {
	status := &s.identity.Status
	if s.failed == nil && !s.accepted.isSet() { // nothing is said
		status.ObservedGeneration, status.Conditions = 0, nil
		return due
	}
	status.ObservedGeneration = s.identity.Generation
	conditions := newConditionList(s.identity, s.failed)
	conditions.add(v1alpha1.ConditionAccepted, s.accepted, "not looked at yet")
	if s.entry == nil {
		conditions.add(v1alpha1.ConditionProgrammed, pendingCondition("waiting until the object is accepted"), "")
	} else {
		r.addProgrammed(conditions, s.server.object, s.replicas, []*internalv1alpha1.Entry{s.entry, s.server.entry}, &s.requeueAt)
	}
	message, at := withTokensNotBefore("what spec says about the user is in force", s.identity.Spec.TokensNotBefore, r.now())
	s.requeueAt = earliest(s.requeueAt, at)
	ready := conditions.ready(message)
	if ready.isTrue() && s.identity.Spec.Suspended {
		ready = falseCondition(v1alpha1.ReasonSuspended, "spec.suspended is true: the user cannot sign in, and sessions and tokens are of no use until it is lifted")
	}
	conditions.add(v1alpha1.ConditionReady, ready, "")
	conditions.write(&status.Conditions, r.now())
	return conditions.statusDue
}
