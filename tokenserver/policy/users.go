package policy

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
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

// AllowsGroups reports whether a user with the groups may sign in.
func (l UserLists) AllowsGroups(groups []string) bool {
	return len(l.Groups) == 0 || slices.ContainsFunc(groups, func(group string) bool { return slices.Contains(l.Groups, group) })
}
