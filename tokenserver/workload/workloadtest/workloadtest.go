// Package workloadtest stands in for the API server of a cluster, for tests that run without one.
package workloadtest

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
	"github.com/oauth-operator/oauth-operator/tokenserver/workload"
)

// Issuer is the iss of the tokens of a new Cluster.
const Issuer = "https://kubernetes.default.svc"

// UID is that of each ServiceAccount.
const UID = "3e1b6f6c-2f0d-4d6e-9c0c-0f2b8a1c9d10"

// Cluster implements workload.Cluster. It accepts in a review what it is told, with the identity that
// the token has. Change it with Change.
type Cluster struct {
	mu      sync.Mutex
	state   State
	fetches int
	reviews int
}

// State is what the API server says.
type State struct {
	Issuer  string
	Signers []jwkstest.Signer
	// KeysError and ReviewError are the errors of the requests; nil: they succeed.
	KeysError, ReviewError error
	MayReview              bool
	// Review is the answer to each review.
	Review workload.Review
	// Reviewing, if set, is called in each review, before it ends.
	Reviewing func()
}

// ErrAway is the error of an API server that does not answer.
var ErrAway = errors.New("connection refused")

// New returns a cluster with a new key, which lets tokens be reviewed and accepts a ServiceAccount.
func New(subject, audience string) *Cluster {
	return &Cluster{state: State{
		Issuer: Issuer, Signers: []jwkstest.Signer{jwkstest.NewSigner("ES256", "cluster-1")}, MayReview: true,
		Review: workload.Review{Authenticated: true, Audiences: []string{audience}, Username: subject, UID: UID},
	}}
}

// Change changes what the API server says.
func (c *Cluster) Change(change func(*State)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.state)
}

// Counts returns how often the keys were read, and how many reviews there were.
func (c *Cluster) Counts() (fetches, reviews int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fetches, c.reviews
}

// Token returns a token of a ServiceAccount by the newest key, as the API server issues it, with
// other claims; a nil value leaves a claim out.
func (c *Cluster) Token(t testing.TB, now time.Time, subject, audience string, claims map[string]any) string {
	t.Helper()
	c.mu.Lock()
	signer := c.state.Signers[len(c.state.Signers)-1]
	all := map[string]any{
		"iss": c.state.Issuer, "sub": subject, "aud": []string{audience}, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"jti": "token-1", "kubernetes.io": map[string]any{"serviceaccount": map[string]any{"name": "web", "uid": UID}},
	}
	c.mu.Unlock()
	return Sign(t, signer, all, claims)
}

// Sign returns a token with claims, changed by others; a nil value leaves a claim out.
func Sign(t testing.TB, signer jwkstest.Signer, claims, changes map[string]any) string {
	t.Helper()
	all := maps.Clone(claims)
	for name, value := range changes {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return signer.Sign(t, all)
}

// ServiceAccountKeys implements workload.Cluster.
func (c *Cluster) ServiceAccountKeys(context.Context) (string, jwks.Set, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetches++
	if c.state.KeysError != nil {
		return "", jwks.Set{}, c.state.KeysError
	}
	set, err := jwks.Parse([]byte(jwkstest.SetOf(c.state.Signers...)))
	return c.state.Issuer, set, err
}

// ReviewToken implements workload.Cluster.
func (c *Cluster) ReviewToken(context.Context, string, string) (workload.Review, error) {
	c.mu.Lock()
	c.reviews++
	state := c.state
	c.mu.Unlock()
	if state.Reviewing != nil {
		state.Reviewing()
	}
	return state.Review, state.ReviewError
}

// MayReviewTokens implements workload.Cluster.
func (c *Cluster) MayReviewTokens(context.Context) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.MayReview, nil
}
