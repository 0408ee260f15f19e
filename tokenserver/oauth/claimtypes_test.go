package oauth

import (
	"encoding/json"
	"slices"
	"testing"
)

// The table of OpenID Connect Core section 5.1, and groups.
func TestEachStandardClaimHasTheTypeOfOpenIDConnectCoreAndNoOther(t *testing.T) {
	types := map[string][]string{
		"a string": {
			"name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture", "website", "email",
			"gender", "birthdate", "zoneinfo", "locale", "phone_number",
		},
		"a boolean": {"email_verified", "phone_number_verified"}, "a number": {"updated_at"}, "an object": {"address"}, "a list of strings": {"groups"},
	}
	values := map[string]any{
		"a string": "2026", "a boolean": true, "a number": json.Number("2026"), "an object": map[string]any{"country": "NL"}, "a list of strings": []any{"a"},
	}
	checked := 0
	for want, names := range types {
		for _, name := range names {
			for _, tagged := range []string{name, name + "#ja"} {
				for typed, value := range values {
					if problems := CheckClaims(map[string]any{tagged: value}); (len(problems) == 0) != (typed == want) {
						t.Errorf("%s as %s: %v", tagged, typed, problems)
					}
				}
			}
			checked++
		}
	}
	all := 0
	for _, names := range ClaimsOfScope {
		all += len(names)
	}
	if checked != all {
		t.Errorf("%d claims are checked, and scopes request %d", checked, all)
	}
	for _, member := range []string{"formatted", "street_address", "locality", "region", "postal_code", "country"} {
		for typed, value := range values {
			problems := CheckClaims(map[string]any{"address": map[string]any{member: value}})
			if (len(problems) == 0) != (typed == "a string") || slices.ContainsFunc(problems, func(p ClaimProblem) bool { return p.Path != "address."+member }) {
				t.Errorf("address.%s as %s: %v", member, typed, problems)
			}
		}
	}
}
