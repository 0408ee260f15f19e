package oidc

import (
	"context"
	"errors"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
)

// retryInterval is how often Run tries the providers that are away.
const retryInterval = time.Minute

// Problems returns the providers that are away of those that are served, and forgets all others.
// Providers are asked when a user signs in, so one that was never asked is not away.
func (p *Providers) Problems(served []documents.IdentityProvider) []fetch.Problem {
	byUID := make(map[string]*Provider, len(served))
	var problems []fetch.Problem
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, document := range served {
		provider := p.byUID[document.UID]
		if provider == nil {
			continue
		}
		if digest, err := document.Digest(); err != nil || digest != provider.digest {
			continue // it was not asked since the document was changed
		}
		byUID[document.UID] = provider
		if err := provider.problem(); err != nil {
			problems = append(problems, newProblem(document.UID, err))
		}
	}
	p.byUID = byUID
	return problems
}

func newProblem(uid string, err error) fetch.Problem {
	var failed *Error
	if errors.As(err, &failed) && failed.Reason == ClientRefused {
		return fetch.NewProblem(uid, err, string(ClientRefused))
	}
	return fetch.NewProblem(uid, err, "")
}

// problem returns why no user can sign in now; nil if that is not known.
func (p *Provider) problem() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.revision != p.providers.Client.Revision():
		return nil // it was not asked since the rules of fetching were changed
	case p.away != nil:
		return p.away
	case p.endpoints == nil:
		return nil
	}
	if present, _, err := p.secret(); err == nil && present != p.askedWith {
		return nil // it was not asked since this process has read another client secret
	}
	return p.endpoints
}

// noteEndpoints keeps whether the endpoints of the provider answered to the client secret in a file, and
// returns err. After a problem they do once a user has signed in. An answer that proves nothing changes
// nothing: a browser can bring it about, by a callback with a code that no provider issued. Nor does one
// that does not wait.
func (p *Provider) noteEndpoints(ctx context.Context, secretName string, err error) error {
	var failed *Error
	var problem error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return err
	case err == nil:
	case errors.As(err, &failed) && (failed.Reason == Away || failed.Reason == ClientRefused):
		problem = err
	default:
		return err
	}
	p.mu.Lock()
	changed := (problem == nil) != (p.endpoints == nil)
	p.endpoints, p.askedWith = problem, secretName
	p.mu.Unlock()
	if changed {
		p.providers.changed()
	}
	return err
}

func (p *Providers) changed() {
	if p.OnChange != nil {
		p.OnChange()
	}
}

// Run tries the discovery documents of the providers that are away again, until ctx ends.
func (p *Providers) Run(ctx context.Context) {
	for clock.Sleep(ctx, retryInterval) {
		for _, provider := range p.away() {
			_, _ = provider.discover(ctx) // the provider keeps the error
		}
	}
}

func (p *Providers) away() (away []*Provider) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, provider := range p.byUID {
		provider.mu.Lock()
		if provider.away != nil {
			away = append(away, provider)
		}
		provider.mu.Unlock()
	}
	return away
}
