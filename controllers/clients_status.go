package controllers

import (
	"context"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// writeStatus writes the status if the pass changed it. The last uses of credentials change with
// it, or when the client's slot has come (usageReports).
func (r *clientReconciler) writeStatus(ctx context.Context, s *clientPass) error {
	before := s.client.Status.DeepCopy()
	key := client.ObjectKeyFromObject(s.client)
	slot := r.usageReports.dueAt(key)
	isDue := !slot.IsZero() && !slot.After(r.now())
	if !isDue { // this pass takes the place of the one that was to come then
		s.requeueAt = earliest(s.requeueAt, slot)
	}
	return r.operator.writeStatus(ctx, s.client, func() (due time.Time) {
		if due = r.fillStatus(s); !due.IsZero() {
			return due
		}
		if isDue || !equality.Semantic.DeepEqual(before, &s.client.Status) {
			r.reportUses(s)
		}
		switch {
		case !isDue:
		case equality.Semantic.DeepEqual(before, &s.client.Status):
			r.usageReports.finish(key)
		default: // another pass sees whether this is written, and what was used meanwhile
			s.requeueAt = earliest(s.requeueAt, r.now().Add(reportInterval))
		}
		return due
	})
}

// fillStatus sets the status, and returns when it is due if that is later.
func (r *clientReconciler) fillStatus(s *clientPass) (due time.Time) {
	status := &s.client.Status
	status.ObservedGeneration = s.client.Generation
	conditions := newConditionList(s.client, s.failed)
	conditions.add(v1alpha1.ConditionAccepted, s.accepted, "not looked at yet")
	credentials := s.credentials
	if problem := keySetCondition(s); credentials.isTrue() && problem.isSet() {
		credentials = problem
	}
	if credentials.isTrue() && s.configMap.isSet() {
		credentials = s.configMap
	}
	// Ready says the first that is wrong: without credentials nothing works, without a scope the rest.
	conditions.add(v1alpha1.ConditionCredentialsReady, credentials, "waiting until the client is accepted")
	conditions.add(v1alpha1.ConditionResolvedRefs, s.resolved, "waiting for the AuthorizationServer")
	switch {
	case !s.accepted.isTrue():
		conditions.add(v1alpha1.ConditionProgrammed, pendingCondition("waiting until the client is accepted"), "")
	case s.entry == nil:
		conditions.add(v1alpha1.ConditionProgrammed, pendingCondition("waiting for the client's credential"), "")
	default:
		entries := append([]*internalv1alpha1.Entry{s.entry, s.server.entry, s.server.namespaceEntry}, s.scopes.entries...)
		r.addProgrammed(conditions, s.server.object, s.replicas, entries, &s.requeueAt)
	}
	message, at := withTokensNotBefore("token requests succeed", s.client.Spec.TokensNotBefore, r.now())
	ready := conditions.ready(message)
	ready = s.withUsers(ready)
	if ready.isTrue() && s.client.Spec.Suspended {
		ready = falseCondition(v1alpha1.ReasonSuspended, "spec.suspended is true: every request of the client is refused")
	}
	conditions.add(v1alpha1.ConditionReady, ready, "")
	legacy, changes := newLegacyGrant(s).condition(r.now())
	if legacy.isSet() {
		if s.failed != nil && !s.decision.Accepted && meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionLegacyGrant) != nil {
			legacy = condition{} // what it says already: the rule is not known
		}
		conditions.add(v1alpha1.ConditionLegacyGrant, legacy, "")
	}
	s.requeueAt = earliest(s.requeueAt, earliest(at, changes))
	conditions.write(&status.Conditions, r.now())

	if s.failed != nil && !s.credentials.isSet() {
		return conditions.statusDue // what is served, and what Pods use, is as it was
	}
	if s.accepted.reason == v1alpha1.ReasonClientIDTaken { // in any other case a client that has no Entry keeps the name that it had
		status.ClientID = ""
	}
	if s.entry != nil {
		status.ClientID = s.document.ID
		status.Credentials = newCredentialStatus(s.document.Credentials, status.Credentials)
	} else {
		status.Credentials = nil
	}
	status.NextRotation = s.newNextRotation(status.NextRotation, r.now())
	status.Authentication = newAuthenticationStatus(s.client, s.document.PreviousAuth, r.now())
	if status.LegacyUntil = unixTime(s.decision.LegacyUntil); !s.accepted.isTrue() {
		status.LegacyUntil = nil
	}
	status.SecretName = ""
	if target := compile.SecretTarget(s.client); target != nil && s.credentials.isTrue() {
		status.SecretName = target.Name
	}
	return conditions.statusDue
}

// newNextRotation returns status.nextRotation. A rotation that was due and cannot be made, of which
// CredentialsReady says why, stays overdue until it can, although its next time may be days away.
func (s *clientPass) newNextRotation(known *metav1.Time, now time.Time) *metav1.Time {
	switch {
	case s.nextRotation.IsZero():
		return nil
	case known != nil && !known.After(now) && !s.credentials.isTrue():
		return known
	}
	return unixTime(s.nextRotation.Unix())
}

// scopesCondition says which scopes are left out.
func scopesCondition(scopes resolvedScopes) condition {
	var problems []string
	if len(scopes.undeclared) > 0 {
		problems = append(problems, "no ResourceServer of the server declares "+quoted(scopes.undeclared))
	}
	if len(scopes.refused) > 0 {
		problems = append(problems, "the ResourceServer's allowedClients do not let this client have "+quoted(scopes.refused))
	}
	if len(problems) == 0 && len(scopes.unreadable) > 0 {
		return falseCondition(v1alpha1.ReasonManagerTooOld,
			"spec.scopes: a newer manager wrote the documents that decide about %s, which this one does not read: upgrade the manager; until then token servers do what the documents say",
			quoted(scopes.unreadable))
	}
	if len(problems) == 0 {
		return trueCondition(v1alpha1.ReasonResolvedRefs, "all scopes exist and may be used")
	}
	return falseCondition(v1alpha1.ReasonUnknownScope, "spec.scopes: %s (left out; the rest works)", strings.Join(problems, "; "))
}

func quoted(names []string) string {
	list := make([]string, 0, len(names))
	for _, name := range names {
		list = append(list, strconv.Quote(name))
	}
	return strings.Join(list, ", ")
}

// isAccepted reports whether the client was accepted when its status was last written.
func isAccepted(c *v1alpha1.OAuthClient) bool {
	for i := range c.Status.Conditions {
		if c.Status.Conditions[i].Type == v1alpha1.ConditionAccepted {
			return c.Status.Conditions[i].Status == metav1.ConditionTrue
		}
	}
	return false
}

func unixTime(seconds int64) *metav1.Time {
	if seconds == 0 {
		return nil
	}
	t := metav1.NewTime(time.Unix(seconds, 0).UTC())
	return &t
}
