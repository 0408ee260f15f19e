package controllers

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// writeStatus writes what the steps found, if it is news.
func (r *clientReconciler) writeStatus(ctx context.Context, s *clientScope) error {
	before := s.client.Status.DeepCopy()
	r.fillStatus(s)
	key := client.ObjectKeyFromObject(s.client)
	turn := r.telling.dueAt(key)
	due := !turn.IsZero() && !turn.After(r.now())
	if !due { // a pass for another reason takes the place of the one that was to come
		s.requeueAt = earliest(s.requeueAt, turn)
	}
	if due || !equality.Semantic.DeepEqual(before, &s.client.Status) {
		r.tellUses(s)
	}
	after := s.client.Status.DeepCopy()
	if equality.Semantic.DeepEqual(before, after) { // which knows that one time can be written in two ways
		if due {
			r.telling.done(key)
		}
		return nil
	}
	return r.replaceStatus(ctx, s.client, before.Conditions, after)
}

func (r *clientReconciler) fillStatus(s *clientScope) {
	status := &s.client.Status
	status.ObservedGeneration = s.client.Generation
	found := func(condition string, v condition, waiting string) typedCondition {
		return s.failed.typedCondition(condition, v, status.Conditions, s.client.Generation, waiting)
	}
	parts := []typedCondition{
		found(v1alpha1.ConditionAccepted, s.accepted, "not looked at yet"),
		found(v1alpha1.ConditionResolvedRefs, s.resolved, "waiting for the AuthorizationServer"),
		found(v1alpha1.ConditionCredentialsReady, s.credentials, "waiting until the client is accepted"),
	}
	parts = append(parts, found(v1alpha1.ConditionProgrammed, r.clientProgrammed(s, parts), ""))
	parts = append(parts, typedCondition{v1alpha1.ConditionReady, clientReady(s, parts)})
	if legacy := legacyGrant(s.client); legacy.isSet() {
		parts = append(parts, typedCondition{v1alpha1.ConditionLegacyGrant, legacy})
	}
	setConditions(&status.Conditions, s.client.Generation, r.now(), parts)

	if s.failed != nil {
		return // what is served, and what Pods use, is as it was
	}
	if s.accepted.reason == v1alpha1.ReasonClientIDTaken { // in any other case a client that has no Entry keeps the name that it had
		status.ClientID = ""
	}
	if s.entry != nil {
		status.ClientID = s.document.ID
		status.Credentials = credentialStatus(s.document.Credentials, status.Credentials)
	} else {
		status.Credentials = nil
	}
	status.SecretName = ""
	if target := compile.SecretTarget(s.client); target != nil && s.credentials.isTrue() {
		status.SecretName = target.Name
	}
}

func (r *clientReconciler) clientProgrammed(s *clientScope, others []typedCondition) condition {
	if !s.accepted.isTrue() {
		return pendingCondition("waiting until the client is accepted")
	}
	if s.entry == nil {
		return pendingCondition("waiting for the client's credential")
	}
	v, recheck := programmed(s.replicas, append([]*internalv1alpha1.Entry{s.entry, s.server.entry, s.server.namespaceEntry}, s.scopes.entries...))
	v = latch(v, s.client.Status.Conditions, s.client.Generation, others)
	if !v.isTrue() {
		s.requeueAt = earliest(s.requeueAt, recheck)
	}
	return v
}

func clientReady(s *clientScope, parts []typedCondition) condition {
	v := s.failed.readyCondition(parts, "token requests succeed")
	if v.isTrue() && s.client.Spec.Suspended {
		return falseCondition(v1alpha1.ReasonSuspended, "spec.suspended is set: every request of the client is refused")
	}
	return v
}

// legacyGrant is the warning of RFC 9700 that a client with such a grant type carries.
func legacyGrant(c *v1alpha1.OAuthClient) condition {
	legacy := compile.LegacyGrants(c)
	if len(legacy) == 0 {
		return condition{}
	}
	return trueCondition(v1alpha1.ReasonLegacyGrant, fmt.Sprintf("spec.grantTypes: RFC 9700 advises against %s: use authorization_code with PKCE",
		strings.Join(legacy, " and ")))
}

// scopesVerdict says which scopes were left out.
func scopesVerdict(scopes resolvedScopes) condition {
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

// acceptedNow says whether the client's last verdict is that it is accepted.
func acceptedNow(c *v1alpha1.OAuthClient) bool {
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
