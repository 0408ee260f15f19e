package tokenserver

import (
	"context"

	"github.com/oauth-operator/oauth-operator/tokenserver/cluster"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// keepKeySets keeps the key sets of clients current.
func (p *program) keepKeySets(ctx context.Context) {
	p.endpoints.KeySources.Keep(ctx, func() []string {
		var urls []string
		for _, set := range p.registry.KeySets() {
			urls = append(urls, set.URI)
		}
		return urls
	})
}

// keySetProblems returns the clients whose key sets could not be fetched.
func (p *program) keySetProblems() []cluster.KeySetProblem {
	var problems []cluster.KeySetProblem
	for _, set := range p.registry.KeySets() {
		if reason := p.endpoints.KeySources.FailingURL(set.URI); reason != "" {
			problems = append(problems, cluster.KeySetProblem{ClientUID: set.ClientUID, Reason: string(reason)})
		}
	}
	return problems
}

// identityProviderProblems returns the identity providers that are away.
func (p *program) identityProviderProblems() []cluster.IdentityProviderProblem {
	var served []documents.IdentityProvider
	for _, provider := range p.registry.IdentityProviders() {
		served = append(served, provider.IdentityProvider)
	}
	var problems []cluster.IdentityProviderProblem
	for _, problem := range p.endpoints.Providers.Problems(served) {
		problems = append(problems, cluster.IdentityProviderProblem(problem))
	}
	return problems
}
