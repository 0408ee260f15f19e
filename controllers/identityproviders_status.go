package controllers

import (
	"slices"
	"time"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
)

// fillStatus sets the status, and returns when it is due if that is later.
func (r *identityProviderReconciler) fillStatus(s *identityProviderPass) (due time.Time) {
	status := &s.provider.Status
	status.ObservedGeneration = s.provider.Generation
	conditions := newConditionList(s.provider, s.failed)
	conditions.add(v1alpha1.ConditionAccepted, s.accepted, "not looked at yet")
	conditions.add(v1alpha1.ConditionResolvedRefs, s.resolved, "waiting until the provider is accepted")
	switch {
	case !s.accepted.isTrue():
		conditions.add(v1alpha1.ConditionProgrammed, pendingCondition("waiting until the provider is accepted"), "")
	case s.entry == nil || s.realmEntry == nil:
		conditions.add(v1alpha1.ConditionProgrammed, pendingCondition("waiting until the provider's document is written"), "")
	case !s.isUsable():
		conditions.add(v1alpha1.ConditionProgrammed, pendingCondition("waiting for what the provider names"), "")
	default:
		r.addProviderProgrammed(s, conditions)
	}
	conditions.add(v1alpha1.ConditionAvailable, r.providerAvailable(s), "")
	message, at := withTokensNotBefore("users can sign in"+s.beside, s.provider.Spec.TokensNotBefore, r.now())
	s.requeueAt = earliest(s.requeueAt, at)
	ready := conditions.ready(message)
	if ready.isTrue() && s.provider.Spec.Suspended {
		ready = falseCondition(v1alpha1.ReasonSuspended, "spec.suspended is true: users cannot sign in, and their sessions and tokens are of no use until it is lifted")
	}
	conditions.add(v1alpha1.ConditionReady, ready, "")
	conditions.write(&status.Conditions, r.now())
	switch { // a provider that is not served at present keeps the realm, unless another has it
	case s.accepted.isTrue():
		status.Realm = s.document.Realm
	case s.accepted.reason == v1alpha1.ReasonRealmTaken:
		status.Realm = ""
	}
	if s.server != nil {
		status.RedirectURI = compile.RedirectURI(s.server.document.Issuer, s.provider)
	}
	return conditions.statusDue
}

// addProviderProgrammed adds the condition Programmed: the token servers serve the document, and hold
// the credential that it names first.
func (r *identityProviderReconciler) addProviderProgrammed(s *identityProviderPass, conditions *conditionList) {
	before := conditions.conditions
	r.addProgrammed(conditions, s.server.object, s.replicas, []*internalv1alpha1.Entry{s.entry, s.realmEntry, s.server.entry}, &s.requeueAt)
	if last := &conditions.conditions[len(before)].condition; last.isTrue() && len(s.document.Credentials) > 0 {
		for i := range s.replicas {
			if slices.Contains(s.replicas[i].Spec.Upstreams, s.document.Credentials[0]) {
				continue
			}
			*last = falseCondition(v1alpha1.ReasonPending, "token server %s has not read the credential yet: %s",
				s.replicas[i].Name, credentialAdvice(s.server.object))
			s.requeueAt = earliest(s.requeueAt, s.replicas[i].until)
			return
		}
	}
}

// credentialAdvice says when a token server reads a new credential.
func credentialAdvice(server *v1alpha1.AuthorizationServer) string {
	if workload.IsManaged(server) {
		return "Kubernetes updates its volume within about two minutes"
	}
	return "see that it mounts Secret " + workload.UpstreamsSecretName(server.Name) + " (optional: true) and names the directory in --upstreams-dir; Kubernetes updates the volume within about two minutes"
}

// providerAvailable says what token servers have heard of the provider.
func (r *identityProviderReconciler) providerAvailable(s *identityProviderPass) condition {
	switch {
	case !s.accepted.isTrue():
		return pendingCondition("waiting until the provider is accepted")
	case !s.isUsable():
		return pendingCondition("waiting for what the provider names")
	}
	for i := range s.replicas {
		for _, problem := range s.replicas[i].Spec.IdentityProviderProblems {
			if problem.ProviderUID == s.provider.UID {
				s.requeueAt = earliest(s.requeueAt, s.replicas[i].until)
				return falseCondition(labelReason(problem.Reason), "token server %s: %s", s.replicas[i].Name, describeProviderProblem(s.provider, problem))
			}
		}
	}
	return trueCondition(v1alpha1.ReasonAvailable, "no token server reports that the provider is away; they ask it when a user signs in")
}

// labelReason returns the reason of the condition for one that a token server reports.
func labelReason(reason string) string {
	if _, known := providerAdvice[reason]; known {
		return reason
	}
	return v1alpha1.ReasonUnreachable // of a token server that is newer than this manager
}

// providerAdvice says what a reason of an IdentityProviderProblem means, as a predicate of the
// provider.
var providerAdvice = map[string]string{
	v1alpha1.ReasonUnreachable:    "does not answer: check the address, and that no firewall or NetworkPolicy is between token servers and it",
	v1alpha1.ReasonUnresolvable:   "has a name that does not resolve where token servers run: check its spelling, and that DNS of the cluster knows it",
	v1alpha1.ReasonBadCertificate: "has a certificate that is not for its host, has expired, or is of an authority that token servers do not trust: name that authority in spec.caBundle",
	v1alpha1.ReasonBadAnswer:      "does not answer as an OpenID provider of this issuer does: compare spec.oidc.issuer, byte for byte, with the issuer in its discovery document",
	v1alpha1.ReasonClientRefused:  "refuses the client: compare spec.oidc.clientID and the client secret with what is registered there",
	v1alpha1.ReasonBindRefused:    "refuses the account that searches: check spec.ldap.bind.dn and the password; a refused account is not tried again for five minutes, unless either changes",
	v1alpha1.ReasonSearchRefused:  "answers a search with an error: check that spec.ldap.users.baseDN and spec.ldap.groups.baseDN exist there, and that the account spec.ldap.bind.dn may search below them",
	v1alpha1.ReasonReferral:       "answers a search by naming other directories, which are not asked: name in spec.ldap.url one that has all of spec.ldap.users.baseDN and spec.ldap.groups.baseDN",
}

// directoryAdvice is of the reasons that mean something else for a directory.
var directoryAdvice = map[string]string{
	v1alpha1.ReasonBadAnswer: "answers, but not as a directory does: check that the port of spec.ldap.url is for its scheme, and spec.ldap.startTLS",
}

func describeProviderProblem(p *v1alpha1.IdentityProvider, problem internalv1alpha1.IdentityProviderProblem) string {
	if problem.Address != "" {
		return "the provider is at the private address " + problem.Address + ": have the network listed in spec.fetch.allowedNetworks of the AuthorizationServer " + p.Spec.ServerRef.Name
	}
	reason := labelReason(problem.Reason)
	advice := providerAdvice[reason]
	if about, differs := directoryAdvice[reason]; differs && p.Spec.LDAP != nil {
		advice = about
	}
	return compile.ProviderAddress(p) + " " + advice
}
