package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// writeStatus writes what the steps found, if it is news.
func (r *userReconciler) writeStatus(ctx context.Context, s *userScope) error {
	before := s.user.Status.DeepCopy()
	r.fillStatus(s)
	after := s.user.Status.DeepCopy()
	if equality.Semantic.DeepEqual(before, after) { // which knows that one time can be written in two ways
		return nil
	}
	return r.replaceStatus(ctx, s.user, before.Conditions, after)
}

func (r *userReconciler) fillStatus(s *userScope) {
	status := &s.user.Status
	status.ObservedGeneration = s.user.Generation
	found := func(condition string, v condition, waiting string) typedCondition {
		return s.failed.typedCondition(condition, v, status.Conditions, s.user.Generation, waiting)
	}
	parts := []typedCondition{
		found(v1alpha1.ConditionAccepted, s.accepted, "not looked at yet"),
		found(v1alpha1.ConditionCredentialsReady, s.credentials, "waiting until the user is accepted"),
	}
	parts = append(parts, found(v1alpha1.ConditionProgrammed, r.userProgrammed(s, parts), ""))
	parts = append(parts, typedCondition{v1alpha1.ConditionReady, s.failed.readyCondition(parts, "the user can log in")})
	setConditions(&status.Conditions, s.user.Generation, r.now(), parts)
	switch { // a user who is not served at present keeps the names, unless another object has them
	case s.accepted.isTrue():
		status.Subject, status.Username = s.document.Subject, s.document.Username
	case s.accepted.reason == v1alpha1.ReasonSubjectTaken:
		status.Subject, status.Username = "", ""
	case s.accepted.reason == v1alpha1.ReasonUsernameTaken && status.Username == s.document.Username:
		status.Username = ""
	}
}

func (r *userReconciler) userProgrammed(s *userScope, others []typedCondition) condition {
	if !s.accepted.isTrue() {
		return pendingCondition("waiting until the user is accepted")
	}
	if s.entry == nil {
		return pendingCondition("waiting until the user's document is written")
	}
	v, recheck := programmed(s.replicas, []*internalv1alpha1.Entry{s.entry, s.username, s.server.entry})
	v = latch(v, s.user.Status.Conditions, s.user.Generation, others)
	if !v.isTrue() {
		s.requeueAt = earliest(s.requeueAt, recheck)
	}
	return v
}
