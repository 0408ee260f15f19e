package controllers

import (
	"context"
	"slices"
	"strings"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// checkUsers finds the grant types by which the client gets no tokens, since none of the users whom
// its rule lets in can sign in. A provider that is away is no reason: token servers ask it again.
func (r *clientReconciler) checkUsers(ctx context.Context, s *clientPass) (err error) {
	if !s.accepted.isTrue() {
		return nil
	}
	s.grants = slices.DeleteFunc(slices.Clone(s.document.GrantTypes), func(grant string) bool {
		return slices.Contains(s.decision.EndedGrants, grant)
	})
	s.withoutUsers = s.decision.Users.GrantsWithoutUsers(s.grants, func(provider string) bool {
		isInService, readErr := r.isInService(ctx, s.server.object, provider)
		if readErr != nil {
			err = readErr
		}
		return isInService
	})
	return err
}

// isInService reports whether the users of an IdentityProvider can sign in at a server, by its
// document.
func (op *operator) isInService(ctx context.Context, server *v1alpha1.AuthorizationServer, provider string) (bool, error) {
	e, err := op.entries.Get(ctx, server, compile.Name{Space: internalv1alpha1.SpaceIdentityProvider, Value: provider})
	if e == nil || err != nil {
		return false, err
	}
	doc, err := decodeEntry[documents.IdentityProvider](e)
	if asVersionSkew(err) != nil {
		return true, nil // what a newer manager wrote is not known
	}
	return err == nil && doc.IsInService(), nil
}

// withUsers returns the condition Ready, which is ready so far, of a client for which checkUsers has
// found something: it stays True while another grant type works. The reader may not be permitted to
// know of the server's IdentityProviders, so the message names none.
func (s *clientPass) withUsers(ready condition) condition {
	if !ready.isTrue() || len(s.withoutUsers) == 0 {
		return ready
	}
	grants := strings.Join(s.withoutUsers, " and ")
	problem := falseCondition(v1alpha1.ReasonNoIdentityProvider,
		"rule %q of the server lets in the users of identity providers alone, and none of these is in service: "+
			"requests with %s are refused until the server's owner corrects that (kubectl oauth explain lists them)",
		s.decision.Rule, grants)
	if !slices.ContainsFunc(s.withoutUsers, isBrowserGrant) {
		problem = falseCondition(v1alpha1.ReasonNoIdentityProvider,
			"rule %q of the server lets in the users of identity providers alone, and the password grant is for OAuthUsers: "+
				"requests with %s are refused: use authorization_code",
			s.decision.Rule, grants)
	}
	if len(s.withoutUsers) < len(s.grants) {
		return trueCondition(v1alpha1.ReasonReady, ready.message+"; but "+problem.message)
	}
	return problem
}

func isBrowserGrant(grant string) bool {
	return grant == oauth.GrantAuthorizationCode || grant == oauth.GrantImplicit
}
