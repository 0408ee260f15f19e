package mint

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

var claimsOfScope, scopeOfClaim = oauth.ClaimsOfScope, invert(oauth.ClaimsOfScope)

func invert(claims map[string][]string) map[string]string {
	scopes := map[string]string{}
	for scope, names := range claims {
		for _, name := range names {
			scopes[name] = scope
		}
	}
	return scopes
}

// ACRValues are the authentication context classes that a login can be of.
var ACRValues = []string{oauth.ACRPassword}

// acrOf a login by its methods; empty if there is no class for them.
func acrOf(amr []string) string {
	if slices.Contains(amr, oauth.AMRPassword) {
		return oauth.ACRPassword
	}
	return ""
}

// SupportedClaims are the names of the claims that scopes stand for, sorted.
func SupportedClaims() []string { return slices.Sorted(maps.Keys(scopeOfClaim)) }

// ClaimsByScope are the claims about the user that the scopes stand for.
func ClaimsByScope(user *registry.User, scopes []string) map[string]any {
	var names []string
	for _, scope := range scopes {
		names = append(names, claimsOfScope[scope]...)
	}
	return ClaimsByName(user, scopes, names)
}

// ClaimsByName are the claims of these names, as far as the scopes allow: a claim that a scope stands for needs that scope, since the scope is
// what the user was asked for; any other claim needs profile.
func ClaimsByName(user *registry.User, scopes, names []string) map[string]any {
	claims := map[string]any{}
	if user == nil {
		return claims
	}
	for _, name := range names {
		if value, ok := claimOf(user, name); ok && slices.Contains(scopes, oauth.ScopeOfClaim(name)) {
			claims[name] = value
		}
	}
	return claims
}

// RegisteredClaims are the claims about the user that the client registered for ID tokens and
// UserInfo answers, whatever the scope.
func RegisteredClaims(user *registry.User, client *registry.Client) map[string]any {
	claims := map[string]any{}
	if user == nil {
		return claims
	}
	for _, name := range client.IDTokenClaims {
		if value, ok := claimOf(user, name); ok {
			claims[name] = value
		}
	}
	return claims
}

// SingleClaims are the names of claims that a claims parameter asks for, in either place, beyond
// those of the scopes of an authentication request (OpenID Connect Core section 5.5): they can be
// granted one by one where the client may have the scope that stands for them. Sorted.
func IndividualClaims(client *registry.Client, scopes []string, parameter string) []string {
	if !slices.Contains(scopes, oauth.ScopeOpenID) {
		return nil
	}
	asked := append(RequestedClaims(parameter, "userinfo"), RequestedClaims(parameter, "id_token")...)
	slices.Sort(asked)
	return slices.DeleteFunc(AllowedClaims(client, slices.Compact(asked)), func(name string) bool {
		return slices.Contains(scopes, scopeOfClaim[name])
	})
}

// AskedClaims are the names of claims that a user is asked for one by one in an authentication
// request, beyond those of its scopes: the SingleClaims, and those that the client registered to be
// told whatever the scope. Sorted.
func ClaimsForConsent(client *registry.Client, scopes []string, parameter string) []string {
	if !slices.Contains(scopes, oauth.ScopeOpenID) {
		return nil
	}
	asked := IndividualClaims(client, scopes, parameter)
	for _, name := range client.IDTokenClaims {
		if !oauth.IsReservedClaim(name) && !slices.Contains(scopes, oauth.ScopeOfClaim(name)) {
			asked = append(asked, name)
		}
	}
	slices.Sort(asked)
	return slices.Compact(asked)
}

// AllowedClaims cuts names of claims to those whose scope the client may have now.
func AllowedClaims(client *registry.Client, names []string) []string {
	var allowed []string
	for _, name := range names {
		if scope, known := scopeOfClaim[name]; known && client.MayHaveScope(scope) {
			allowed = append(allowed, name)
		}
	}
	return allowed
}

// ClaimsGranted are the claims of those names that were granted one by one.
func GrantedClaims(user *registry.User, granted, names []string) map[string]any {
	claims := map[string]any{}
	for _, name := range names {
		if user == nil || !slices.Contains(granted, name) {
			continue
		}
		if value, ok := claimOf(user, name); ok {
			claims[name] = value
		}
	}
	return claims
}

// claimOf a user; none that the protocol sets. A username is what the user calls themself, unless
// the claims say otherwise.
func claimOf(user *registry.User, name string) (any, bool) {
	if oauth.IsReservedClaim(name) {
		return nil, false
	}
	if value, ok := user.Claims[name]; ok && value != nil {
		return value, true
	}
	if name == "preferred_username" && user.Username != "" {
		return user.Username, true
	}
	return nil, false
}

// RequestedBeyond are the names that a claims parameter asks for at the UserInfo endpoint, as far as the scopes allow them, this user has them,
// and the scopes do not stand for them anyway. A token that no grant remembers the request of carries them, so they are few.
func RequestedNonstandardClaims(user *registry.User, scopes []string, parameter string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(ClaimsByName(user, scopes, RequestedClaims(parameter, "userinfo")))) {
		if _, known := scopeOfClaim[name]; !known {
			names = append(names, name)
		}
	}
	return names
}

// RequestedClaims are the names that a claims parameter asks for in one place, id_token or userinfo (OpenID Connect Core section 5.5), sorted.
// A parameter that is no such object asks for nothing.
func RequestedClaims(parameter, place string) []string {
	if parameter == "" {
		return nil
	}
	var request map[string]json.RawMessage
	if err := json.Unmarshal([]byte(parameter), &request); err != nil {
		return nil
	}
	var names map[string]json.RawMessage
	if err := json.Unmarshal(request[place], &names); err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(names))
}
