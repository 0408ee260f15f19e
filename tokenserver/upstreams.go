package tokenserver

import (
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/cluster"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
)

func (s *Server) newProviders(client *fetch.Client, sources *keysource.Sources) *oidc.Providers {
	return &oidc.Providers{Client: client, Sources: sources, Secret: s.upstream, Now: s.Now, Random: s.Random, OnChange: s.OnProblem}
}

func (s *Server) newDirectories(client *fetch.Client, guesses *throttle.Throttle, metrics *ldap.Metrics) *ldap.Directories {
	replicas := s.Replicas
	if replicas == nil {
		replicas = func(time.Duration) int { return 1 }
	}
	return &ldap.Directories{
		Client: client, Password: s.upstream, Throttle: guesses, Replicas: replicas, Now: s.Now, Random: s.Random, Log: s.Log, Metrics: metrics,
		OnChange: s.OnProblem,
	}
}

func (s *Server) upstream(name string) (string, bool) {
	if s.Upstream == nil {
		return "", false
	}
	return s.Upstream(name)
}

// hasIdentitySpec reports whether the owner of the server says anything about a user from elsewhere.
func (s *Server) hasIdentitySpec(subject string) bool {
	_, ok := s.Registry.Identity(subject)
	return ok
}

// identityProviderProblems returns the identity providers that are away.
func (p *program) identityProviderProblems() []cluster.IdentityProviderProblem {
	var served []documents.IdentityProvider
	for _, provider := range p.registry.IdentityProviders() {
		served = append(served, provider.IdentityProvider)
	}
	var problems []cluster.IdentityProviderProblem
	for _, problem := range slices.Concat(p.endpoints.Providers.Problems(served), p.endpoints.Directories.Problems(served)) {
		problems = append(problems, cluster.IdentityProviderProblem(problem))
	}
	return problems
}
