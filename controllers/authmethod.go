package controllers

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

func usesSecret(method string) bool { return v1alpha1.TokenEndpointAuthMethod(method).UsesSecret() }

// keepPreviousAuth writes into the document by which method the client authenticated before, if that
// has changed since the stored document. The old method stays good, with its own keys and secrets, for
// the overlap: not if the client has become public, and not if no rule accepts the client with it any
// more, which it returns for an event.
func (r *clientReconciler) keepPreviousAuth(s *clientPass, stored documents.Client) (refused string) {
	now := r.now()
	s.document.PreviousAuth = stored.PreviousAuth
	if stored.AuthMethod != s.document.AuthMethod {
		s.document.PreviousAuth = nil
		if stored.AuthMethod != oauth.AuthMethodNone {
			s.document.PreviousAuth = &documents.PreviousAuth{
				Method: stored.AuthMethod, JWKS: stored.JWKS, JWKSURI: stored.JWKSURI, WorkloadIdentities: stored.WorkloadIdentities,
				Until: now.Add(compile.Overlap(s.client)).Unix(),
			}
		}
	}
	if p := s.document.PreviousAuth; p != nil {
		if s.document.AuthMethod == oauth.AuthMethodNone || p.Until <= now.Unix() {
			s.document.PreviousAuth = nil
		} else if before := s.decideAsBefore(now); !before.Accepted {
			s.document.PreviousAuth = nil
			refused = fmt.Sprintf("the client may not authenticate by %s any more, by which it could until %s: %s",
				p.Method, timeText(time.Unix(p.Until, 0)), describeDenials(before))
		}
	}
	if p := s.document.PreviousAuth; p != nil {
		s.requeueAt = earliest(s.requeueAt, time.Unix(p.Until, 0))
	}
	if !usesSecret(s.document.AuthMethod) {
		s.document.Credentials = retireWithMethod(s.document.Credentials, s.document.PreviousAuth)
	} else {
		s.document.Credentials = reinstate(s.document.Credentials, now)
	}
	return refused
}

// reinstate makes the credential Active again that retired with the method of its client: a client
// that goes back to a secret goes on with the value that its Secret holds, which Pods have mounted,
// while that is good. Of the credentials that another has replaced none has a version in its Source.
func reinstate(credentials []documents.Credential, now time.Time) []documents.Credential {
	if findByState(credentials, documents.CredentialActive) != nil {
		return credentials
	}
	for i, c := range credentials {
		source := parseCredentialSource(c.Source)
		if c.State == documents.CredentialRetiring && time.Unix(c.RetireAfter, 0).After(now) && (!source.read.isZero() || !source.written.isZero()) {
			credentials = slices.Clone(credentials)
			credentials[i].State, credentials[i].RetireAfter = documents.CredentialActive, 0
			break
		}
	}
	return credentials
}

// decideAsBefore returns what the rules say of the client as it was before. While they do not accept
// it as it is, token servers refuse it whatever it sends, and the method before stays as it was.
func (s *clientPass) decideAsBefore(now time.Time) policy.Decision {
	if !s.decision.Accepted {
		return policy.Decision{Accepted: true}
	}
	return policy.EvaluateClient(s.server.document, s.server.namespaceLabels, s.document.AsBefore(), now)
}

// retireWithMethod returns the credentials of a client that does not authenticate by a secret any
// more: they end with the method before, and at once if that is none with a secret.
func retireWithMethod(credentials []documents.Credential, previous *documents.PreviousAuth) []documents.Credential {
	if previous == nil || !usesSecret(previous.Method) {
		return nil
	}
	var kept []documents.Credential
	for _, c := range credentials {
		if c.State != documents.CredentialRetiring || c.RetireAfter > previous.Until {
			c.State, c.RetireAfter = documents.CredentialRetiring, previous.Until
		}
		kept = append(kept, c)
	}
	return kept
}

// planWithoutSecret plans for a client that authenticates without a secret. The credentials that it
// had are good until their time.
func (state secretState) planWithoutSecret(now time.Time) credentialPlan {
	uses := credentialUses{possible: now} // they end with the method, used or not
	kept, ended := removeEnded(state.credentials, uses, 0, now)
	message := "a public client has no credential"
	if state.withoutSecret != oauth.AuthMethodNone {
		message = fmt.Sprintf("the client authenticates by %s, without a secret", state.withoutSecret)
	}
	if len(kept) > 0 {
		message += fmt.Sprintf("; the secret that it had is good until %s", timeText(lastEnd(kept)))
	}
	return credentialPlan{
		credentials: kept, uses: uses, ended: ended, deletesOthers: true, condition: trueCondition(v1alpha1.ReasonNotNeeded, message),
	}
}

// lastEnd returns when the last of some Retiring credentials ends.
func lastEnd(credentials []documents.Credential) (last time.Time) {
	for _, c := range credentials {
		last = latest(last, time.Unix(c.RetireAfter, 0))
	}
	return last
}

// newAuthenticationStatus returns how a client authenticates. It has done so since before, or since
// now if the method has changed; a client without that status has since it was created.
func newAuthenticationStatus(c *v1alpha1.OAuthClient, previous *documents.PreviousAuth, now time.Time) *v1alpha1.AuthenticationStatus {
	status := &v1alpha1.AuthenticationStatus{Method: string(c.Spec.TokenEndpointAuthMethod)}
	switch known := c.Status.Authentication; {
	case known == nil:
		status.Since = metav1.NewTime(c.CreationTimestamp.UTC())
	case known.Method == status.Method:
		status.Since = known.Since
	default:
		status.Since = metav1.NewTime(now.UTC().Truncate(time.Second))
	}
	if previous != nil {
		status.PreviousMethod, status.PreviousUntil = previous.Method, unixTime(previous.Until)
	}
	return status
}
