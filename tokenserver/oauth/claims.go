package oauth

import (
	"slices"
	"strings"
)

// ClaimsOfScope lists the claims that each scope requests (OpenID Connect Core section 5.4; groups
// is in common use).
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

// IsStandardClaim reports whether a scope requests the claim.
func IsStandardClaim(name string) bool {
	return slices.Contains(ClaimsOfScope[ScopeOfClaim(name)], name)
}

// ScopeOfClaim returns the scope that a client needs for a claim about the user: the scope that
// requests the claim, with or without a language tag (OpenID Connect Core section 5.2), otherwise
// profile.
func ScopeOfClaim(name string) string {
	name, _, _ = strings.Cut(name, "#")
	for scope, claims := range ClaimsOfScope {
		if slices.Contains(claims, name) {
			return scope
		}
	}
	return ScopeProfile
}

// ClaimIdentityProvider is the claim with the name of the identity provider that the user signed in
// at. It is a word of ours, and no mapping sets it: applications tell users of one provider from
// those of another by it.
const ClaimIdentityProvider = "identity_provider"

// reservedClaims are the claims that the protocol sets. An OAuthUser must not set them: it could
// otherwise say who issued a token, for whom, and until when (RFC 7519 section 4.1, RFC 8693
// section 4, OpenID Connect Core section 2 and the specifications that add to it).
var reservedClaims = []string{
	"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "azp", "nonce", "auth_time", "acr", "amr", "sid", "client_id", "scope", "act", "may_act",
	"cnf", "events", "at_hash", "c_hash", "s_hash", ClaimIdentityProvider,
}

// IsReservedClaim reports whether the protocol sets the claim. Letter case does not matter, because
// many JSON decoders, Go's among them, ignore it.
func IsReservedClaim(name string) bool {
	return slices.ContainsFunc(reservedClaims, func(reserved string) bool { return strings.EqualFold(reserved, name) })
}
