package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// End is something that works now and will not from a time on.
type End struct {
	// At is when.
	At time.Time `json:"at"`
	// Object and Field say so, as in a Reason.
	Object  string `json:"object"`
	Field   string `json:"field"`
	Message string `json:"message"`
}

// endsSoon lists what will end: grant types, what was issued, and credentials.
func (e *explanation) endsSoon() []End {
	var ends []End
	add := func(at time.Time, object, field, message string) {
		if at.After(e.Now) {
			ends = append(ends, End{At: at.UTC(), Object: object, Field: field, Message: message})
		}
	}
	if until := e.legacyUntil(); !until.IsZero() {
		object, field := e.legacyUntilField()
		then := ""
		if e.nextRule.To != "" {
			then = ", and from then on " + e.nextRule.Describe()
		}
		ended := strings.Join(compile.LegacyGrants(e.Client), " and ")
		add(until, object, field, "ends "+ended+then+": use authorization_code with PKCE")
	}
	if t := e.Client.Spec.TokensNotBefore; t != nil {
		add(t.Time, e.clientName(), "spec.tokensNotBefore", "voids what the client got until then")
	}
	if e.Server != nil && e.Server.Spec.TokensNotBefore != nil {
		add(e.Server.Spec.TokensNotBefore.Time, e.answer.Server, "spec.tokensNotBefore", "voids what the server issued until then, and the logins")
	}
	if !e.Applied {
		return ends
	}
	for _, c := range e.Client.Status.Credentials {
		if c.State != v1alpha1.CredentialRetiring || c.RetireAfter == nil {
			continue
		}
		message := fmt.Sprintf("the credential %q is replaced, and good until then", c.ID)
		if c.LastUsed != nil {
			message += ", and was last used about " + c.LastUsed.UTC().Format(time.RFC3339) + ": restart or reload what still has it"
		}
		add(c.RetireAfter.Time, e.clientName(), "status.credentials["+c.ID+"]", message)
	}
	return ends
}

// legacyUntil returns when the legacy grant types of the client end: by the rule if it is known, else
// by the client's status. Zero if they do not.
func (e *explanation) legacyUntil() time.Time {
	switch {
	case e.answer.Rule != "" && e.decision.LegacyUntil != 0:
		return timeOf(e.decision.LegacyUntil)
	case e.answer.Rule == "" && e.Applied && e.Client.Status.LegacyUntil != nil:
		return e.Client.Status.LegacyUntil.UTC()
	}
	return time.Time{}
}

// legacyUntilField returns where legacyUntil says so.
func (e *explanation) legacyUntilField() (object, field string) {
	if e.answer.Rule == "" {
		return e.clientName(), "status.legacyUntil"
	}
	return e.answer.Server, "spec.allowedClients[" + e.answer.Rule + "].legacyUntil"
}

// hasEnded reports whether legacyUntil has ended a grant type, and with it the refresh tokens that
// only this grant type issues.
func (e *explanation) hasEnded(grant string) bool {
	until := e.legacyUntil()
	if until.IsZero() || e.Now.Before(until) {
		return false
	}
	ended := compile.LegacyGrants(e.Client)
	if grant == oauth.GrantRefreshToken {
		return slices.Contains(ended, oauth.GrantPassword) && !slices.Contains(e.Client.Spec.GrantTypes, v1alpha1.GrantTypeAuthorizationCode)
	}
	return slices.Contains(ended, grant)
}

// timeOf returns a Unix time.
func timeOf(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
