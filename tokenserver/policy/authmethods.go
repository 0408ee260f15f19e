package policy

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// AllowsAuthMethod reports whether some rule of s allows clients to authenticate by a method.
func AllowsAuthMethod(s documents.Server, method string) bool {
	return slices.ContainsFunc(s.AllowedClients, func(rule documents.ClientRule) bool { return allowsAuthMethod(rule, method) })
}
