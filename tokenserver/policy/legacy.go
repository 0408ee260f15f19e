package policy

import (
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
