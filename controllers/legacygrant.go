package controllers

import (
	"fmt"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// legacyNotice is how long before its end a legacy grant is said to end.
const legacyNotice = 30 * 24 * time.Hour

// legacyGrant is what is known about the grant types of a client that RFC 9700 advises against.
type legacyGrant struct {
	grants   []string
	decision policy.Decision
	// last and next are the rules that time alone has accept the client.
	last, next policy.RuleChange
}

func newLegacyGrant(s *clientPass) legacyGrant {
	l := legacyGrant{grants: compile.LegacyGrants(s.client), decision: s.decision}
	if s.decision.Accepted {
		l.last, l.next = policy.RuleChanges(s.server.document, s.server.namespaceLabels, s.document, s.decision)
	}
	return l
}

// condition returns the warning of RFC 9700, and when it says something else; the zero time: never.
func (l legacyGrant) condition(now time.Time) (found condition, changes time.Time) {
	if len(l.grants) == 0 {
		return condition{}, time.Time{}
	}
	list, rule := strings.Join(l.grants, " and "), l.decision.Rule
	var note string // about the rules before and after this one
	if l.next.To != "" {
		note = "; from then on " + l.next.Describe()
	}
	if l.last.To != "" {
		note += fmt.Sprintf("; since %s, when rule %q ended it, %s", time.Unix(l.last.At, 0).UTC().Format(time.RFC3339), l.last.From, l.last.Describe())
	}
	if l.decision.LegacyUntil == 0 {
		return trueCondition(v1alpha1.ReasonLegacyGrant,
			fmt.Sprintf("spec.grantTypes: RFC 9700 advises against %s: use authorization_code with PKCE", list)+note), time.Time{}
	}
	end := time.Unix(l.decision.LegacyUntil, 0).UTC()
	at := end.Format(time.RFC3339)
	switch notice := end.Add(-legacyNotice); {
	case !now.Before(end):
		return trueCondition(v1alpha1.ReasonLegacyGrantEnded, fmt.Sprintf(
			"spec.grantTypes: rule %q of the server has ended %s at %s: requests with it are refused, the other grant types go on: use authorization_code with PKCE",
			rule, list, at)), time.Time{}
	case !now.Before(notice):
		return trueCondition(v1alpha1.ReasonLegacyGrantEnding, fmt.Sprintf(
			"spec.grantTypes: rule %q of the server ends %s at %s: use authorization_code with PKCE before", rule, list, at)+note), end
	default:
		return trueCondition(v1alpha1.ReasonLegacyGrant, fmt.Sprintf(
			"spec.grantTypes: RFC 9700 advises against %s, and rule %q of the server ends it at %s: use authorization_code with PKCE", list, rule, at)+note), notice
	}
}
