package controllers

import (
	"slices"
	"time"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// fillStatus sets the status, and returns when it is due if that is later.
func (r *resourceServerReconciler) fillStatus(s *resourceServerPass) (due time.Time) {
	status := &s.api.Status
	status.ObservedGeneration = s.api.Generation
	conditions := newConditionList(s.api, s.failed)
	conditions.add(v1alpha1.ConditionAccepted, s.accepted, "not looked at yet")
	conditions.add(v1alpha1.ConditionResolvedRefs, s.resolved, "waiting for the AuthorizationServer")
	switch {
	case !s.accepted.isTrue():
		conditions.add(v1alpha1.ConditionProgrammed, pendingCondition("waiting until the ResourceServer is accepted"), "")
	case s.entry == nil:
		conditions.add(v1alpha1.ConditionProgrammed, pendingCondition("waiting until the ResourceServer's document is written"), "")
	default:
		entries := append([]*internalv1alpha1.Entry{s.entry, s.server.entry, s.server.namespaceEntry}, s.scopeEntries...)
		r.addProgrammed(conditions, s.server.object, s.replicas, entries, &s.requeueAt)
	}
	conditions.add(v1alpha1.ConditionReady, conditions.ready("clients can get tokens for the API"), "")
	conditions.write(&status.Conditions, r.now())
	if s.failed == nil { // after a failure it has the names that it had
		fillNames(status, s)
	}
	return conditions.statusDue
}

// fillNames sets the names that the ResourceServer has. One that is not served at present keeps the
// names that it had and still asks for, unless another object has them.
func fillNames(status *v1alpha1.ResourceServerStatus, s *resourceServerPass) {
	if s.accepted.reason == v1alpha1.ReasonIdentifierTaken {
		status.Identifier, status.Scopes = "", nil
		return
	}
	if s.hasIdentifier() {
		status.Identifier = s.document.Identifier
	}
	has := valuesOf(s.scopeEntries)
	var scopes []string
	for _, scope := range s.api.Spec.Scopes {
		had := slices.Contains(status.Scopes, scope.Name) && !slices.Contains(s.takenScopes, scope.Name)
		if had || slices.Contains(has, scope.Name) {
			scopes = append(scopes, scope.Name)
		}
	}
	slices.Sort(scopes)
	status.Scopes = scopes
}
