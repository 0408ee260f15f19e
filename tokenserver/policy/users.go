package policy

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// UserLists are the lists of a rule that say which users may sign in to the clients that it accepts.
type UserLists struct {
	// IdentityProviders and Groups are as in documents.ClientRule.
	IdentityProviders []string
	Groups            []string
}

// AllowsProvider reports whether the users of a provider may sign in, which is the name of an
// IdentityProvider or documents.LocalProvider. allClients is that of the provider's document.
func (l UserLists) AllowsProvider(name string, allClients bool) bool {
	if len(l.IdentityProviders) > 0 {
		return slices.Contains(l.IdentityProviders, name)
	}
	return name == documents.LocalProvider || allClients
}

// GrantsWithoutUsers returns those of the grant types by which no token is issued, since no user can
// sign in: the password grant if OAuthUsers may not, and those of the browser if the users of no
// provider that is listed can. Where no tokens of users are issued, none are refreshed. isInService
// reports whether the users of an IdentityProvider can sign in.
func (l UserLists) GrantsWithoutUsers(grantTypes []string, isInService func(provider string) bool) []string {
	if len(l.IdentityProviders) == 0 || slices.Contains(l.IdentityProviders, documents.LocalProvider) {
		return nil // OAuthUsers have no other place to sign in at
	}
	hasWay := slices.ContainsFunc(l.IdentityProviders, isInService)
	isRefreshed := hasWay && slices.Contains(grantTypes, oauth.GrantAuthorizationCode)
	return slices.DeleteFunc(slices.Clone(grantTypes), func(grant string) bool {
		switch grant {
		case oauth.GrantPassword:
			return false
		case oauth.GrantAuthorizationCode, oauth.GrantImplicit:
			return hasWay
		case oauth.GrantRefreshToken:
			return isRefreshed
		}
		return true
	})
}

// admitNoMoreThan reports whether it is certain that other lets in all users whom l does. Which
// providers a list that is left out stands for may change, so only OAuthUsers are certain then.
func (l UserLists) admitNoMoreThan(other UserLists) bool {
	return isPartOf(l.Groups, other.Groups) && (len(l.IdentityProviders) == 0 && len(other.IdentityProviders) == 0 ||
		slices.Equal(l.IdentityProviders, []string{documents.LocalProvider}) && len(other.IdentityProviders) == 0 ||
		len(other.IdentityProviders) > 0 && isPartOf(l.IdentityProviders, other.IdentityProviders))
}

// isPartOf reports whether a list, of which the empty one stands for all there is, has nothing that
// another does not have.
func isPartOf(list, other []string) bool {
	return len(other) == 0 || len(list) > 0 && !slices.ContainsFunc(list, func(name string) bool { return !slices.Contains(other, name) })
}

// AllowsGroups reports whether a user with the groups may sign in.
func (l UserLists) AllowsGroups(groups []string) bool {
	return len(l.Groups) == 0 || slices.ContainsFunc(groups, func(group string) bool { return slices.Contains(l.Groups, group) })
}
