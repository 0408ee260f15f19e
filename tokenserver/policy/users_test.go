package policy

import (
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

func TestARuleAllowsTheProvidersThatItNamesOrElseOAuthUsersAndProvidersOfAllClients(t *testing.T) {
	for _, c := range []struct {
		named      []string
		provider   string
		allClients bool
		want       bool
	}{
		{nil, "local", false, true},
		{nil, "acme", false, false},
		{nil, "acme", true, true},
		{[]string{"acme"}, "acme", false, true},
		{[]string{"acme"}, "local", true, false},
		{[]string{"acme"}, "other", true, false},
		{[]string{"acme", "local"}, "local", false, true},
	} {
		if got := (UserLists{IdentityProviders: c.named}).AllowsProvider(c.provider, c.allClients); got != c.want {
			t.Errorf("the rule names %q: %s with allClients %v is allowed: %v, want %v", c.named, c.provider, c.allClients, got, c.want)
		}
	}
}

func TestARuleAllowsUsersOfOneOfItsGroupsOrElseAnyUser(t *testing.T) {
	for _, c := range []struct {
		listed, groups []string
		want           bool
	}{
		{nil, nil, true},
		{nil, []string{"x"}, true},
		{[]string{"ops", "dev"}, nil, false},
		{[]string{"ops", "dev"}, []string{"x", "Ops", "op", ""}, false},
		{[]string{"ops", "dev"}, []string{"x", "dev"}, true},
	} {
		if got := (UserLists{Groups: c.listed}).AllowsGroups(c.groups); got != c.want {
			t.Errorf("the rule lists %q: a user of %q is allowed: %v, want %v", c.listed, c.groups, got, c.want)
		}
	}
}

func TestAGrantTypeIsOfNoUseWhereNobodyWhomTheRuleListsCanSignIn(t *testing.T) {
	all := []string{"authorization_code", "implicit", "password", "refresh_token", "client_credentials"}
	for _, c := range []struct {
		listed, grants []string
		want           string
	}{
		{nil, all, ""},
		{[]string{"away", "local"}, all, ""},
		{[]string{"away"}, all, "authorization_code implicit password refresh_token"},
		{[]string{"away", "acme"}, all, "password"},
		{[]string{"acme"}, []string{"password", "refresh_token"}, "password refresh_token"},
		{[]string{"acme"}, []string{"implicit", "refresh_token"}, "refresh_token"},
		{[]string{"away"}, []string{"client_credentials"}, ""},
	} {
		got := (UserLists{IdentityProviders: c.listed}).GrantsWithoutUsers(c.grants, func(name string) bool { return name == "acme" })
		if strings.Join(got, " ") != c.want {
			t.Errorf("the rule lists %q: of %q, %q are of no use, want %q", c.listed, c.grants, got, c.want)
		}
	}
}

func TestTheListsAboutUsersAreThoseOfTheRuleThatAcceptsTheClient(t *testing.T) {
	s := server(func(s *documents.Server, r *documents.ClientRule) {
		first := *r
		first.Name, first.Scopes, first.Groups = "narrow", []string{"openid"}, []string{"narrow"}
		r.Groups, r.IdentityProviders = []string{"wide"}, []string{"acme"}
		s.AllowedClients = []documents.ClientRule{first, *r}
	})
	d := EvaluateClient(s, nil, client(nil), now)
	if d.Rule != "shop" || !d.Users.AllowsGroups([]string{"wide"}) || d.Users.AllowsGroups([]string{"narrow"}) || d.Users.AllowsProvider("local", true) {
		t.Errorf("the decision is %+v", d)
	}
}
