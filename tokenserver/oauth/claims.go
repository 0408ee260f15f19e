package oauth

import (
	"slices"
	"strings"
)

// ClaimsOfScope are the claims that a scope stands for (OpenID Connect Core section 5.4; groups is
// in common use).
var ClaimsOfScope = map[string][]string{
	ScopeProfile: {
		"name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile", "picture", "website", "gender",
		"birthdate", "zoneinfo", "locale", "updated_at",
	},
	ScopeEmail:   {"email", "email_verified"},
	ScopeAddress: {"address"},
	ScopePhone:   {"phone_number", "phone_number_verified"},
	ScopeGroups:  {"groups"},
}

// StandardClaim reports whether a scope stands for a claim.
func StandardClaim(name string) bool {
	return slices.Contains(ClaimsOfScope[ScopeOfClaim(name)], name)
}

// ScopeOfClaim is the scope that a claim about the user needs: the one that stands for it, in
// whatever language (OpenID Connect Core section 5.2), else profile.
func ScopeOfClaim(name string) string {
	name, _, _ = strings.Cut(name, "#")
	for scope, claims := range ClaimsOfScope {
		if slices.Contains(claims, name) {
			return scope
		}
	}
	return ScopeProfile
}
