package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// isLegacyGrant reports whether RFC 9700 sections 2.1.2 and 2.4 advise against a grant type.
func isLegacyGrant(grant string) bool {
	return grant == oauth.GrantImplicit || grant == oauth.GrantPassword
}

// LegacyGrants returns those of the grant types that RFC 9700 advises against, which a rule can end
// at a time.
func LegacyGrants(grantTypes []string) []string {
	var legacy []string
	for _, grant := range grantTypes {
		if isLegacyGrant(grant) {
			legacy = append(legacy, grant)
		}
	}
	return legacy
}

// hasEnded reports whether the rule counts as not listing legacy grants at now.
func hasEnded(rule documents.ClientRule, now time.Time) bool {
	return rule.LegacyUntil != 0 && now.Unix() >= rule.LegacyUntil
}

// CountEnded returns how many rules of s count as not listing legacy grants at now. While it and s
// are the same, so are all decisions.
func CountEnded(s documents.Server, now time.Time) int {
	count := 0
	for _, rule := range s.AllowedClients {
		if hasEnded(rule, now) {
			count++
		}
	}
	return count
}

// allowsAuthMethod reports whether a rule allows clients to authenticate by a method.
func allowsAuthMethod(rule documents.ClientRule, method string) bool {
	return len(rule.TokenEndpointAuthMethods) == 0 || slices.Contains(rule.TokenEndpointAuthMethods, method)
}

// RuleChange is that time alone has another rule accept a client, since the rule that did has ended its
// legacy grants.
type RuleChange struct {
	// From and To are the names of the rules.
	From, To string
	// At is the legacyUntil of From, in Unix time.
	At int64
	// Ends is whether To does not allow the legacy grants either.
	Ends bool
	// Widens is whether To may let users sign in whom From does not.
	Widens bool
}

// RuleChanges returns the change that led to a decision about c, and the one that is to come. The zero
// RuleChange is none.
func RuleChanges(s documents.Server, labels map[string]string, c documents.Client, d Decision) (last, next RuleChange) {
	if !d.Accepted || len(LegacyGrants(c.GrantTypes)) == 0 {
		return RuleChange{}, RuleChange{}
	}
	if first := EvaluateClient(s, labels, c, time.Time{}); first.Rule != d.Rule {
		last = changeOf(first, d)
	}
	if d.LegacyUntil != 0 && len(d.EndedGrants) == 0 {
		if then := EvaluateClient(s, labels, c, time.Unix(d.LegacyUntil, 0)); then.Rule != d.Rule {
			next = changeOf(d, then)
		}
	}
	return last, next
}

func changeOf(from, to Decision) RuleChange {
	return RuleChange{From: from.Rule, To: to.Rule, At: from.LegacyUntil, Ends: len(to.EndedGrants) > 0, Widens: !to.Users.admitNoMoreThan(from.Users)}
}

// Describe says what To does, as in "from then on rule "y" allows it".
func (c RuleChange) Describe() string {
	text := fmt.Sprintf("rule %q allows it", c.To)
	if c.Ends {
		text = fmt.Sprintf("rule %q accepts the client without it", c.To)
	}
	if c.Widens {
		text += fmt.Sprintf(" and may let users sign in whom rule %q does not", c.From)
	}
	return text
}
