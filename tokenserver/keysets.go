package tokenserver

import (
	"context"

	"github.com/oauth-operator/oauth-operator/tokenserver/cluster"
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
