package controllers

import (
	"fmt"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// legacyNotice is how long before its end a legacy grant is said to end.
const legacyNotice = 30 * 24 * time.Hour

// legacyGrantCondition returns the warning of RFC 9700 for a client with such a grant type, and when
// it says something else; the zero time: never. d is what the rules say of the client now.
func legacyGrantCondition(grants []string, d policy.Decision, now time.Time) (found condition, changes time.Time) {
	if len(grants) == 0 {
		return condition{}, time.Time{}
	}
	list := strings.Join(grants, " and ")
	if d.LegacyUntil == 0 {
		return trueCondition(v1alpha1.ReasonLegacyGrant,
			fmt.Sprintf("spec.grantTypes: RFC 9700 advises against %s: use authorization_code with PKCE", list)), time.Time{}
	}
	end := time.Unix(d.LegacyUntil, 0).UTC()
	at := end.Format(time.RFC3339)
	switch notice := end.Add(-legacyNotice); {
	case !now.Before(end):
		return trueCondition(v1alpha1.ReasonLegacyGrantEnded, fmt.Sprintf(
			"spec.grantTypes: rule %q of the server has ended %s at %s: requests with it are refused, the other grant types go on: use authorization_code with PKCE",
			d.Rule, list, at)), time.Time{}
	case !now.Before(notice):
		return trueCondition(v1alpha1.ReasonLegacyGrantEnding, fmt.Sprintf(
			"spec.grantTypes: rule %q of the server ends %s at %s: use authorization_code with PKCE before", d.Rule, list, at)), end
	default:
		return trueCondition(v1alpha1.ReasonLegacyGrant, fmt.Sprintf(
			"spec.grantTypes: RFC 9700 advises against %s, and rule %q of the server ends it at %s: use authorization_code with PKCE", list, d.Rule, at)), notice
	}
}
