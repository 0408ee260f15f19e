package tokenserver

import (
	"context"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
	"github.com/oauth-operator/oauth-operator/tokenserver/cluster"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
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

// keySetInterval is how often noteKeySets looks.
const keySetInterval = 5 * time.Second

// noteKeySets notes which key sets could not be fetched, until ctx ends. Nothing else goes through all
// clients that have one: a report in the Replica follows each change of any Entry. It waits for
// no fetch, since sets at hosts that do not answer keep Keep waiting for minutes.
func (p *program) noteKeySets(ctx context.Context) {
	for clock.Sleep(ctx, keySetInterval) {
		p.noteKeySetProblems(p.registry.KeySets())
	}
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
