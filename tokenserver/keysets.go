package tokenserver

import (
	"context"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/cluster"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// keepKeySets keeps the key sets of clients current, and notes which could not be fetched. Nothing
// else goes through all clients that have one: a report in the Replica follows each change of any
// Entry.
func (p *program) keepKeySets(ctx context.Context) {
	p.endpoints.KeySources.Keep(ctx, func() []string {
		sets := p.registry.KeySets()
		p.noteKeySetProblems(sets)
		var urls []string
		for _, set := range sets {
			urls = append(urls, set.URI)
		}
		return urls
	})
}

func (p *program) noteKeySetProblems(sets []registry.KeySet) {
	var problems []cluster.KeySetProblem
	for _, set := range sets {
		if reason := p.endpoints.KeySources.FailingURL(set.URI); reason != "" {
			problems = append(problems, cluster.KeySetProblem{ClientUID: set.ClientUID, Reason: string(reason)})
		}
	}
	if !slices.Equal(problems, p.keySetProblems()) {
		p.keySetsAway.Store(&problems)
		p.cluster.WriteReplicaSoon()
	}
}

// keySetProblems returns the clients whose key sets could not be fetched, a few seconds ago.
func (p *program) keySetProblems() []cluster.KeySetProblem {
	if problems := p.keySetsAway.Load(); problems != nil {
		return *problems
	}
	return nil
}
