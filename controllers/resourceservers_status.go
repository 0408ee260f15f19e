package controllers

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// writeStatus writes what the steps found, if it is news.
func (r *resourceServerReconciler) writeStatus(ctx context.Context, s *resourceServerScope) error {
	before := s.api.Status.DeepCopy()
	r.fillStatus(s)
	after := s.api.Status.DeepCopy()
	if equality.Semantic.DeepEqual(before, after) { // which knows that one time can be written in two ways
		return nil
	}
	return r.replaceStatus(ctx, s.api, before.Conditions, after)
}

func (r *resourceServerReconciler) fillStatus(s *resourceServerScope) {
	status := &s.api.Status
	status.ObservedGeneration = s.api.Generation
	found := func(condition string, v condition, waiting string) typedCondition {
		return s.failed.typedCondition(condition, v, status.Conditions, s.api.Generation, waiting)
	}
	parts := []typedCondition{
		found(v1alpha1.ConditionAccepted, s.accepted, "not looked at yet"),
		found(v1alpha1.ConditionResolvedRefs, s.resolved, "waiting for the AuthorizationServer"),
	}
	parts = append(parts, found(v1alpha1.ConditionProgrammed, r.resourceServerProgrammed(s, parts), ""))
	parts = append(parts, typedCondition{v1alpha1.ConditionReady, s.failed.readyCondition(parts, "clients can get tokens for the API")})
	setConditions(&status.Conditions, s.api.Generation, r.now(), parts)
	if s.failed == nil { // else it has the names that it had
		fillNames(status, s)
	}
}

// fillNames writes down the names that the ResourceServer has. One that is not served at present
// keeps those that it had and still asks for, unless another object has them.
func fillNames(status *v1alpha1.ResourceServerStatus, s *resourceServerScope) {
	if s.accepted.reason == v1alpha1.ReasonIdentifierTaken {
		status.Identifier, status.Scopes = "", nil
		return
	}
	if s.held() {
		status.Identifier = s.document.Identifier
	}
	has := values(s.claims)
	var scopes []string
	for _, scope := range s.api.Spec.Scopes {
		had := slices.Contains(status.Scopes, scope.Name) && !slices.Contains(s.lost, scope.Name)
		if had || slices.Contains(has, scope.Name) {
			scopes = append(scopes, scope.Name)
		}
	}
	slices.Sort(scopes)
	status.Scopes = scopes
}

func (r *resourceServerReconciler) resourceServerProgrammed(s *resourceServerScope, others []typedCondition) condition {
	if !s.accepted.isTrue() {
		return pendingCondition("waiting until the ResourceServer is accepted")
	}
	if s.entry == nil {
		return pendingCondition("waiting until the ResourceServer's document is written")
	}
	v, recheck := programmed(s.replicas, append([]*internalv1alpha1.Entry{s.entry, s.server.entry, s.server.namespaceEntry}, s.claims...))
	v = latch(v, s.api.Status.Conditions, s.api.Generation, others)
	if !v.isTrue() {
		s.requeueAt = earliest(s.requeueAt, recheck)
	}
	return v
}
