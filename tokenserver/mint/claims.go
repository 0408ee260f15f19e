package mint

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// ACRValues are the authentication context classes that a login can have.
var ACRValues = []string{oauth.ACRPassword}

// ACROf returns the authentication context class of a login with the methods; empty if there is
// none.
func ACROf(amr []string) string {
	if slices.Contains(amr, oauth.AMRPassword) {
		return oauth.ACRPassword
	}
	return ""
}

// SupportedClaims returns the names of the claims that scopes request, sorted.
func SupportedClaims() []string {
	names := slices.Concat(slices.Collect(maps.Values(oauth.ClaimsOfScope))...)
	slices.Sort(names)
	return names
}

// ClaimsByScope returns the claims about the user that the scopes request.
func ClaimsByScope(user *registry.User, scopes []string) map[string]any {
	var names []string
	for _, scope := range scopes {
		names = append(names, oauth.ClaimsOfScope[scope]...)
	}
	return ClaimsByName(user, scopes, names)
}

// ClaimsByName returns the claims with these names, as far as the scopes allow: a claim needs the
// scope of oauth.ScopeOfClaim, since the user was asked for that.
func ClaimsByName(user *registry.User, scopes, names []string) map[string]any {
	return claimsOf(user, names, func(name string) bool { return slices.Contains(scopes, oauth.ScopeOfClaim(name)) })
}

// RegisteredClaims returns the claims about the user that the client registered for ID tokens and
// UserInfo responses, whatever the scope.
func RegisteredClaims(user *registry.User, client *registry.Client) map[string]any {
	return claimsOf(user, client.IDTokenClaims, func(string) bool { return true })
}

// GrantedClaims returns the claims with these names that were granted individually.
func GrantedClaims(user *registry.User, granted, names []string) map[string]any {
	return claimsOf(user, names, func(name string) bool { return slices.Contains(granted, name) })
}

// claimsOf returns the allowed ones of the claims with these names. A nil user has no claims.
func claimsOf(user *registry.User, names []string, isAllowed func(name string) bool) map[string]any {
	claims := map[string]any{}
	if user == nil {
		return claims
	}
	for _, name := range names {
		if !isAllowed(name) {
			continue
		}
		if value, ok := claimOf(user, name); ok {
			claims[name] = value
		}
	}
	addEmailVerified(claims, user)
	return claims
}

// addEmailVerified adds email_verified to claims of a user from elsewhere that have an email, also
// if only that was asked for. It is false unless the mapping of the identity provider says
// otherwise: an application that takes an address for a person's must not take one that only the
// person has vouched for.
func addEmailVerified(claims map[string]any, user *registry.User) {
	if _, ok := claims["email"]; !ok || user.ProviderName == documents.LocalProvider {
		return
	}
	verified, _ := claimOf(user, "email_verified")
	claims["email_verified"] = verified == true
}

// AddIdentityProvider adds the name of the provider that the user signed in at to claims about the
// user. No user, no provider.
func AddIdentityProvider(claims map[string]any, user *registry.User) {
	if user != nil {
		claims[oauth.ClaimIdentityProvider] = user.ProviderName
	}
}

// claimOf returns a claim about the user, and never one that the protocol sets. Unless the user's
// claims say otherwise, preferred_username is the username.
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

// IndividualClaims returns the names of the claims that a claims parameter requests, in either
// member, beyond those of the scopes of an authentication request (OpenID Connect Core section
// 5.5). They can be granted individually if the client may have the scope that requests them.
// Sorted.
func IndividualClaims(client *registry.Client, scopes []string, parameter string) []string {
	if !slices.Contains(scopes, oauth.ScopeOpenID) {
		return nil
	}
	requested := append(RequestedClaims(parameter, "userinfo"), RequestedClaims(parameter, "id_token")...)
	slices.Sort(requested)
	return slices.DeleteFunc(AllowedClaims(client, slices.Compact(requested)), func(name string) bool {
		return slices.Contains(scopes, oauth.ScopeOfClaim(name))
	})
}

// ClaimsForConsent returns the names of the claims that the user is asked for individually in an
// authentication request, beyond those of its scopes: the IndividualClaims, and those that the
// client registered to get whatever the scope. Sorted.
func ClaimsForConsent(client *registry.Client, scopes []string, parameter string) []string {
	if !slices.Contains(scopes, oauth.ScopeOpenID) {
		return nil
	}
	names := IndividualClaims(client, scopes, parameter)
	for _, name := range client.IDTokenClaims {
		if !oauth.IsReservedClaim(name) && !slices.Contains(scopes, oauth.ScopeOfClaim(name)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// AllowedClaims returns those of the names that a scope requests which the client may have now.
func AllowedClaims(client *registry.Client, names []string) []string {
	var allowed []string
	for _, name := range names {
		if oauth.IsStandardClaim(name) && client.MayHaveScope(oauth.ScopeOfClaim(name)) {
			allowed = append(allowed, name)
		}
	}
	return allowed
}

// RequestedNonstandardClaims returns the names of the claims that a claims parameter requests at
// the UserInfo endpoint, that no scope requests, that the scopes allow, and that the user has. An
// access token without a grant contains them, so there must be few.
func RequestedNonstandardClaims(user *registry.User, scopes []string, parameter string) []string {
	names := slices.Sorted(maps.Keys(ClaimsByName(user, scopes, RequestedClaims(parameter, "userinfo"))))
	return slices.DeleteFunc(names, oauth.IsStandardClaim)
}

// RequestedClaims returns the names in one member of a claims parameter, id_token or userinfo
// (OpenID Connect Core section 5.5), sorted. A parameter with another syntax requests nothing.
func RequestedClaims(parameter, member string) []string {
	if parameter == "" {
		return nil
	}
	var request map[string]json.RawMessage
	if err := json.Unmarshal([]byte(parameter), &request); err != nil {
		return nil
	}
	var names map[string]json.RawMessage
	if err := json.Unmarshal(request[member], &names); err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(names))
}
