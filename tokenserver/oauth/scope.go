package oauth

import (
	"slices"
	"strings"
)

// Built-in scopes, which no resource server declares (OpenID Connect Core sections 3.1.2.1, 5.4 and
// 11; groups is in common use).
const (
	ScopeOpenID        = "openid"
	ScopeProfile       = "profile"
	ScopeEmail         = "email"
	ScopeAddress       = "address"
	ScopePhone         = "phone"
	ScopeGroups        = "groups"
	ScopeOfflineAccess = "offline_access"
)

// MaxScopes is how many scopes a request may name.
const MaxScopes = 256

// BuiltInScopes are the scopes that no resource server declares.
var BuiltInScopes = []string{ScopeOpenID, ScopeProfile, ScopeEmail, ScopeAddress, ScopePhone, ScopeGroups, ScopeOfflineAccess}

// IsBuiltInScope reports whether a scope is one of BuiltInScopes.
func IsBuiltInScope(scope string) bool { return slices.Contains(BuiltInScopes, scope) }

// IsAPIScope reports whether only a resource server can declare a scope.
func IsAPIScope(scope string) bool { return !IsBuiltInScope(scope) }

// ParseScope splits a scope parameter into its scopes, in their order and without repetitions (RFC
// 6749 section 3.3). An error is an *Error with code invalid_scope.
func ParseScope(value string) ([]string, error) {
	var scopes []string
	for scope := range strings.SplitSeq(value, " ") {
		switch {
		case scope == "" || slices.Contains(scopes, scope):
			continue
		case !isValidScope(scope):
			return nil, Errorf(InvalidScope, "scope must be scopes with one space between them, each of the characters x21, x23-5B and x5D-7E")
		case len(scopes) == MaxScopes:
			return nil, Errorf(InvalidScope, "there are more than %d scopes", MaxScopes)
		}
		scopes = append(scopes, scope)
	}
	return scopes, nil
}

// FormatScope returns scopes as a scope parameter.
func FormatScope(scopes []string) string { return strings.Join(scopes, " ") }

func isValidScope(scope string) bool {
	for i := range len(scope) {
		if c := scope[i]; c <= 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
