package documents

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// reservedClaims are set by the protocol, never by what is said of a user: a user who could set
// them could say who issued a token, for whom, and until when (RFC 7519 section 4.1, RFC 8693
// section 4, OpenID Connect Core section 2 and the specifications that add to it).
var reservedClaims = []string{
	"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "azp", "nonce", "auth_time", "acr", "amr", "sid", "client_id", "scope", "act", "may_act",
	"cnf", "events", "at_hash", "c_hash", "s_hash",
}

// ReservedClaim reports whether the protocol sets a claim. Names that differ in letter case only
// are reserved too: many readers of JSON, Go's among them, take one for the other.
func ReservedClaim(name string) bool {
	return slices.ContainsFunc(reservedClaims, func(reserved string) bool { return strings.EqualFold(reserved, name) })
}

// claimType says what a standard claim has to be, in words, and checks it.
type claimType struct {
	must  string
	holds func(value any) bool
}

var (
	textClaim   = claimType{"must be a string", func(value any) bool { _, ok := value.(string); return ok }}
	truthClaim  = claimType{"must be true or false, without quotes", func(value any) bool { _, ok := value.(bool); return ok }}
	numberClaim = claimType{"must be a number, the seconds since 1970, without quotes", func(value any) bool { _, ok := value.(json.Number); return ok }}
	objectClaim = claimType{"must be an object", func(value any) bool { _, ok := value.(map[string]any); return ok }}
	textsClaim  = claimType{"must be a list of strings", isTexts}
)

func isTexts(value any) bool {
	list, ok := value.([]any)
	return ok && !slices.ContainsFunc(list, func(item any) bool { return !textClaim.holds(item) })
}

// claimTypes are those of the standard claims (OpenID Connect Core sections 5.1 and 5.1.1), and of
// groups, which is in common use as a list. Relying parties that expect these types fail on any
// other.
var claimTypes = map[string]claimType{
	"name": textClaim, "given_name": textClaim, "family_name": textClaim, "middle_name": textClaim, "nickname": textClaim,
	"preferred_username": textClaim, "profile": textClaim, "picture": textClaim, "website": textClaim, "email": textClaim,
	"email_verified": truthClaim, "gender": textClaim, "birthdate": textClaim, "zoneinfo": textClaim, "locale": textClaim,
	"phone_number": textClaim, "phone_number_verified": truthClaim, "address": objectClaim, "updated_at": numberClaim,
	"groups": textsClaim,
}

var addressTypes = map[string]claimType{
	"formatted": textClaim, "street_address": textClaim, "locality": textClaim, "region": textClaim, "postal_code": textClaim,
	"country": textClaim,
}

// ClaimProblem is a claim that a user cannot have.
type ClaimProblem struct {
	// Path of the claim, and of the member of its value if that is at fault.
	Path string
	// Message says what to change.
	Message string
}

// CheckClaims finds the claims that a user cannot have, in the order of their names. Numbers are
// json.Number. A claim that is null is not there.
func CheckClaims(claims map[string]any) []ClaimProblem {
	var wrong []ClaimProblem
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		if ReservedClaim(name) {
			wrong = append(wrong, ClaimProblem{name, "is set by the protocol, remove it"})
			continue
		}
		wrong = append(wrong, checkType(claimTypes, name, name, claims[name])...)
		if address, ok := claims[name].(map[string]any); ok && standardName(name) == "address" {
			for _, member := range slices.Sorted(maps.Keys(address)) {
				wrong = append(wrong, checkType(addressTypes, member, name+"."+member, address[member])...)
			}
		}
	}
	return wrong
}

func checkType(types map[string]claimType, name, path string, value any) []ClaimProblem {
	if value == nil {
		return nil
	}
	want, standard := types[standardName(name)]
	if !standard || want.holds(value) {
		return nil
	}
	return []ClaimProblem{{path, want.must + " (OpenID Connect Core section 5.1)"}}
}

// standardName is the name without its language tag (OpenID Connect Core section 5.2), in lower
// case: name#ja has the type of name, and readers that ignore letter case expect it of Name too.
func standardName(name string) string {
	name, _, _ = strings.Cut(name, "#")
	return strings.ToLower(name)
}
