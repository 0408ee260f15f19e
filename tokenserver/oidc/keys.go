package oidc

import (
	"context"
	"errors"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
)

// verify returns the payload of an ID token that a key of the provider signed, and its algorithm.
func (p *Provider) verify(ctx context.Context, d *discovery, token string) (jwks.JWS, error) {
	signed, err := jwks.ParseJWS(token)
	if err != nil {
		return jwks.JWS{}, invalid("the ID token is not a signed JWT of at most 16 KiB")
	}
	if !d.allowsAlgorithm(signed.Algorithm) {
		return jwks.JWS{}, invalid("the provider does not sign ID tokens by the algorithm of this one")
	}
	source := p.providers.Sources.Of("provider "+p.digest+" "+d.JWKSURI, fetch.HostOf(d.JWKSURI), func(ctx context.Context) (jwks.Set, time.Duration, error) {
		set, err := p.fetchKeys(ctx, d.JWKSURI)
		p.mu.Lock()
		p.keysFailed = err
		p.mu.Unlock()
		return set, 0, err
	})
	_, err = source.Verify(ctx, signed)
	p.mu.Lock()
	failed := p.keysFailed
	p.mu.Unlock()
	switch {
	case err == nil:
		return signed, nil
	case errors.Is(err, jwks.ErrUnknownKey) && failed != nil:
		return jwks.JWS{}, &Error{Away, failed}
	default:
		return jwks.JWS{}, &Error{Invalid, err}
	}
}

// allowsAlgorithm reports whether ID tokens may be signed so. RFC 9864 has two names for EdDSA with
// an Ed25519 key, of which package jwks knows one.
func (d *discovery) allowsAlgorithm(algorithm string) bool {
	for _, allowed := range d.Algorithms {
		if allowed == algorithm || algorithm == "EdDSA" && allowed == "Ed25519" {
			return true
		}
	}
	return false
}

func (p *Provider) fetchKeys(ctx context.Context, address string) (jwks.Set, error) {
	body, _, err := p.get(ctx, address, "")
	if err != nil {
		return jwks.Set{}, err
	}
	set, err := jwks.Parse(body)
	if err != nil {
		return jwks.Set{}, fetch.NewError(fetch.BadAnswer, err)
	}
	return set, nil
}
