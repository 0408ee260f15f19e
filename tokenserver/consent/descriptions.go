package consent

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
)

// describe returns what is asked with its descriptions: the scopes, the claims that are asked for
// one by one, and the APIs that the request names.
func (h *Handler) describe(flow *interaction.ResolvedFlow, asked grant.ConsentRequest) (described []pages.Scope) {
	for _, scope := range asked.Scopes {
		described = append(described, pages.Scope{Name: scope, Description: h.describeScope(scope)})
	}
	for _, claim := range asked.Claims {
		description := claimDescriptions[claim]
		if description == "" {
			description = "See this detail about you"
		}
		described = append(described, pages.Scope{Name: claim, Description: description})
	}
	for _, api := range asked.APIs {
		isNamed := func(resource string) bool {
			rs, ok := flow.Client.ResourceServer(resource)
			return ok && rs.UID == api.UID
		}
		if slices.ContainsFunc(flow.Resources, isNamed) {
			described = append(described, pages.Scope{Name: api.Identifier, Description: "Call this API on your behalf"})
		}
	}
	return described
}

// claimDescriptions are the descriptions of claims.
var claimDescriptions = map[string]string{
	"name": "See your name", "family_name": "See your family name", "given_name": "See your given name", "middle_name": "See your middle name",
	"nickname": "See your nickname", "preferred_username": "See your username", "profile": "See the address of your profile page",
	"picture": "See your picture", "website": "See the address of your website", "gender": "See your gender", "birthdate": "See your date of birth",
	"zoneinfo": "See your time zone", "locale": "See your language", "updated_at": "See when your details last changed",
	"email": "See your email address", "email_verified": "See whether your email address was verified",
	"address": "See your postal address", "phone_number": "See your phone number",
	"phone_number_verified": "See whether your phone number was verified", "groups": "See which groups you are in",
}

// scopeDescriptions are the descriptions of the built-in scopes. Resource servers describe the
// others.
var scopeDescriptions = map[string]string{
	oauth.ScopeOpenID:        "Know who you are on this server",
	oauth.ScopeProfile:       "See your name, picture and other details",
	oauth.ScopeEmail:         "See your email address",
	oauth.ScopeAddress:       "See your postal address",
	oauth.ScopePhone:         "See your phone number",
	oauth.ScopeGroups:        "See which groups you are in",
	oauth.ScopeOfflineAccess: "Keep this access after you sign out",
}

func (h *Handler) describeScope(scope string) string {
	if description, ok := scopeDescriptions[scope]; ok {
		return description
	}
	return h.Registry.ScopeDescription(scope)
}
