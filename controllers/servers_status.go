package controllers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/keyring"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
)

func (r *serverReconciler) fillStatus(s *serverPass) {
	status := &s.server.Status
	status.ObservedGeneration = s.server.Generation
	conditions := newConditionList(s.server, s.failed)
	conditions.add(v1alpha1.ConditionAccepted, s.accepted, "the server was not looked at yet")
	conditions.add(v1alpha1.ConditionResolvedRefs, s.resolved, "not looked at yet")
	conditions.add(v1alpha1.ConditionDeployed, s.deployed, "the Deployment was not looked at yet")
	conditions.add(v1alpha1.ConditionAvailable, availableCondition(s), "")
	if last := conditions.conditions[2:]; explainsPods(last[1].condition, last[0].condition) {
		slices.Reverse(last)
	}
	if s.failed != nil && s.failed.conditionType == v1alpha1.ConditionProgrammed {
		conditions.add(v1alpha1.ConditionProgrammed, condition{}, "")
	}
	message, at := withTokensNotBefore("the server issues tokens", s.server.Spec.TokensNotBefore, r.now())
	s.requeueAt = earliest(s.requeueAt, at)
	ready := conditions.ready(message)
	if resolved := &conditions.conditions[1].condition; resolved.isTrue() && s.noProvider.isSet() {
		*resolved = s.noProvider
		if ready.isTrue() { // the other providers and rules work: it is for those to be less than Ready that do not
			ready.message += "; but " + s.noProvider.message
		}
	}
	conditions.add(v1alpha1.ConditionReady, ready, "")
	conditions.add(v1alpha1.ConditionKeysCurrent, s.rotation, "the keys were not looked at yet")
	conditions.write(&status.Conditions, r.now())
	if s.hasKeys() {
		status.Keys = nil
		for _, k := range s.ring.Keys {
			status.Keys = append(status.Keys, v1alpha1.KeyStatus{
				KID: k.KID, Algorithm: k.Algorithm, Phase: v1alpha1.KeyPhase(k.Phase), Since: metav1.NewTime(k.Since),
				ActiveAfter: activeAfter(s.pending, k.KID),
			})
		}
	}
	if !s.accepted.isTrue() {
		if s.accepted.reason == v1alpha1.ReasonIssuerTaken {
			status.Endpoints, status.Keys = nil, nil
			status.Clients, status.AuthMethods, status.LegacyGrants = 0, nil, nil
		}
		return
	}
	endpoints := compile.Endpoints(s.server.Spec.Issuer)
	status.Endpoints = &endpoints
	status.Clients, status.AuthMethods, status.LegacyGrants = s.use.clients, s.use.authMethods, s.use.legacyGrants
	status.Replicas, status.Selector = s.podCount, ""
	if workload.IsManaged(s.server) {
		status.Selector = labels.FormatLabels(workload.Selector(s.server.Name))
	}
}

// explainsPods reports whether the condition Available knows better than Deployed why Pods are not
// ready: the condition Ready says what the first of the two says.
func explainsPods(available, deployed condition) bool {
	isRollingOut := deployed.reason == v1alpha1.ReasonPending || deployed.reason == v1alpha1.ReasonProgressDeadlineExceeded
	return isRollingOut && available.status == metav1.ConditionFalse && available.reason != v1alpha1.ReasonNoReplica
}

// keysCurrentCondition says whether the keys are those for which the spec asks, and if not, which
// keys become Active and when.
func keysCurrentCondition(pending []keyring.PendingRotation, revision int64) condition {
	if len(pending) == 0 {
		return trueCondition(v1alpha1.ReasonKeysCurrent, "no rotation of keys is pending")
	}
	var list []string
	for _, k := range pending {
		when := k.Waits
		if !k.At.IsZero() {
			when = "at " + k.At.Format(time.RFC3339) + ", " + k.Waits
		}
		list = append(list, fmt.Sprintf("the %s key %s becomes Active %s", k.Algorithm, k.KID, when))
	}
	return falseCondition(v1alpha1.ReasonRotationPending, "spec.signing.rotation (revision %d): %s", revision, strings.Join(list, "; "))
}

func activeAfter(pending []keyring.PendingRotation, kid string) *metav1.Time {
	for _, k := range pending {
		if k.KID == kid && !k.At.IsZero() {
			return &metav1.Time{Time: k.At}
		}
	}
	return nil
}

// availableCondition says whether a token server is ready, according to the replicas.
func availableCondition(s *serverPass) condition {
	switch {
	case s.keysProblem.isSet():
		return s.keysProblem
	case len(s.lost) > 0:
		return falseCondition(v1alpha1.ReasonKeysLost, "Secret %q lacks the keys %s: restore it from a backup, or list them in spec.signing.revokedKeys to get new ones",
			keySecretKey(s.server).Name, strings.Join(slices.Sorted(slices.Values(s.lost)), ", "))
	case !s.accepted.isSet():
		return pendingCondition("not looked at yet")
	}
	was := meta.IsStatusConditionTrue(s.server.Status.Conditions, v1alpha1.ConditionAvailable)
	if slices.ContainsFunc(s.replicas, func(r replica) bool { return r.Spec.Ready && (r.renewed || was) }) {
		return trueCondition(v1alpha1.ReasonAvailable, "a token server is ready"+describeProblems(s.replicas))
	}
	for i := range s.replicas {
		if problem := s.replicas[i].Spec.Problem; problem != "" {
			return falseCondition(v1alpha1.ReasonReplicaProblem, "token server %s: %s", s.replicas[i].Name, problem)
		}
	}
	if len(s.replicas) > 0 {
		return falseCondition(v1alpha1.ReasonNoReplica, "no token server is ready yet")
	}
	return falseCondition(v1alpha1.ReasonNoReplica, "no token server is running")
}

// describeProblems returns the problem of a replica that is ready all the same, such as a database
// that does not answer.
func describeProblems(live []replica) string {
	for i := range live {
		if r := &live[i]; r.Spec.Ready && r.Spec.Problem != "" {
			return fmt.Sprintf("; token server %s: %s", r.Name, r.Spec.Problem)
		}
	}
	return ""
}
