package controllers

import (
	"time"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// fillStatus sets the status, and returns when it is due if that is later.
func (r *userReconciler) fillStatus(s *userPass) (due time.Time) {
	status := &s.user.Status
	status.ObservedGeneration = s.user.Generation
	conditions := newConditionList(s.user, s.failed)
	conditions.add(v1alpha1.ConditionAccepted, s.accepted, "not looked at yet")
	conditions.add(v1alpha1.ConditionCredentialsReady, s.credentials, "waiting until the user is accepted")
	switch {
	case !s.accepted.isTrue():
		conditions.add(v1alpha1.ConditionProgrammed, pendingCondition("waiting until the user is accepted"), "")
	case s.entry == nil:
		conditions.add(v1alpha1.ConditionProgrammed, pendingCondition("waiting until the user's document is written"), "")
	default:
		r.addProgrammed(conditions, s.server.object, s.replicas, []*internalv1alpha1.Entry{s.entry, s.usernameEntry, s.server.entry}, &s.requeueAt)
	}
	message, at := withTokensNotBefore("the user can log in", s.user.Spec.TokensNotBefore, r.now())
	s.requeueAt = earliest(s.requeueAt, at)
	ready := conditions.ready(message)
	if ready.isTrue() && s.user.Spec.Suspended {
		ready = falseCondition(v1alpha1.ReasonSuspended, "spec.suspended is true: the user cannot log in, and sessions and tokens are of no use until it is lifted")
	}
	conditions.add(v1alpha1.ConditionReady, ready, "")
	conditions.write(&status.Conditions, r.now())
	switch { // a user who is not served at present keeps the names, unless another object has them
	case s.accepted.isTrue():
		status.Subject, status.Username = s.document.Subject, s.document.Username
	case s.accepted.reason == v1alpha1.ReasonSubjectTaken:
		status.Subject, status.Username = "", ""
	case s.accepted.reason == v1alpha1.ReasonUsernameTaken && status.Username == s.document.Username:
		status.Username = ""
	}
	return conditions.statusDue
}
