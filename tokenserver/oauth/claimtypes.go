package oauth

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// claimType is the JSON type of a standard claim.
type claimType struct {
	requirement string // for messages: "must be ..."
	matches     func(value any) bool
}

var (
	stringClaim  = claimType{"must be a string", func(value any) bool { _, ok := value.(string); return ok }}
	boolClaim    = claimType{"must be true or false, without quotes", func(value any) bool { _, ok := value.(bool); return ok }}
	numberClaim  = claimType{"must be a number, the seconds since 1970, without quotes", func(value any) bool { _, ok := value.(json.Number); return ok }}
	objectClaim  = claimType{"must be an object", func(value any) bool { _, ok := value.(map[string]any); return ok }}
	stringsClaim = claimType{"must be a list of strings", isStringList}
)

func isStringList(value any) bool {
	list, ok := value.([]any)
	return ok && !slices.ContainsFunc(list, func(item any) bool { return !stringClaim.matches(item) })
}

// claimTypes are the types of the standard claims (OpenID Connect Core section 5.1) and of groups,
// which is in common use as a list. Relying parties fail on claims of other types.
var claimTypes = map[string]claimType{
	"name": stringClaim, "given_name": stringClaim, "family_name": stringClaim, "middle_name": stringClaim, "nickname": stringClaim,
	"preferred_username": stringClaim, "profile": stringClaim, "picture": stringClaim, "website": stringClaim, "email": stringClaim,
	"email_verified": boolClaim, "gender": stringClaim, "birthdate": stringClaim, "zoneinfo": stringClaim, "locale": stringClaim,
	"phone_number": stringClaim, "phone_number_verified": boolClaim, "address": objectClaim, "updated_at": numberClaim,
	"groups": stringsClaim,
}

// addressTypes are the types of the members of the address claim (OpenID Connect Core section
// 5.1.1).
var addressTypes = map[string]claimType{
	"formatted": stringClaim, "street_address": stringClaim, "locality": stringClaim, "region": stringClaim, "postal_code": stringClaim,
	"country": stringClaim,
}

// ClaimProblem says what is wrong with a claim about a user.
type ClaimProblem struct {
	// Path is the name of the claim, followed by "." and a member of its value if that is wrong.
	Path string
	// Message says what to change.
	Message string
}

// CheckClaims returns the problems of the claims about a user, sorted by claim: names that the
// protocol reserves and values of the wrong type. Numbers must be decoded as json.Number. A null
// value counts as absent.
func CheckClaims(claims map[string]any) []ClaimProblem {
	var problems []ClaimProblem
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		if IsReservedClaim(name) {
			problems = append(problems, ClaimProblem{name, "is set by the protocol, remove it"})
			continue
		}
		problems = append(problems, checkType(claimTypes, name, name, claims[name])...)
		if address, ok := claims[name].(map[string]any); ok && withoutLanguage(name) == "address" {
			for _, member := range slices.Sorted(maps.Keys(address)) {
				problems = append(problems, checkType(addressTypes, member, name+"."+member, address[member])...)
			}
		}
	}
	return problems
}

// checkType returns the problem of a value whose type is not that of the claim or member of this
// name.
func checkType(types map[string]claimType, name, path string, value any) []ClaimProblem {
	if value == nil {
		return nil
	}
	want, standard := types[withoutLanguage(name)]
	if !standard || want.matches(value) {
		return nil
	}
	return []ClaimProblem{{path, want.requirement + " (OpenID Connect Core section 5.1)"}}
}

// withoutLanguage returns the name of a claim without its language tag (OpenID Connect Core section
// 5.2), in lower case: name#ja has the type of name, and so has Name for decoders that ignore case.
func withoutLanguage(name string) string {
	name, _, _ = strings.Cut(name, "#")
	return strings.ToLower(name)
}
