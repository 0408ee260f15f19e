package workload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
	"github.com/oauth-operator/oauth-operator/tokenserver/keysource"
)

// Cluster is the API server of the cluster, asked with the token server's own rights.
type Cluster interface {
	// ServiceAccountKeys returns the iss of ServiceAccount tokens, and the keys that verify them.
	ServiceAccountKeys(ctx context.Context) (issuer string, keys jwks.Set, err error)
	// ReviewToken returns what the API server says of a token for an audience.
	ReviewToken(ctx context.Context, token, audience string) (Review, error)
	// MayReviewTokens reports whether the token server has the right to ReviewToken.
	MayReviewTokens(ctx context.Context) (bool, error)
}

const (
	// pollInterval is how often the keys of the cluster are fetched, used or not, so that a new key is
	// known before tokens come that it has signed, and an API server that refuses them is told early.
	pollInterval = time.Minute
	// pollRetryInterval is the same while the API server has refused or not answered.
	pollRetryInterval = 5 * time.Second
	pollTimeout       = 10 * time.Second
)

// kubernetesIssuer is the issuer of ServiceAccount tokens.
type kubernetesIssuer struct {
	cluster Cluster
	source  *keysource.Source
	// polled is the issuer for which was polled last, and due when that is done again. Only keep uses
	// them.
	polled documents.WorkloadIssuer
	due    time.Time

	mu  sync.Mutex
	iss string // "": not known yet
	// keysError and reviewError are why the API server gives no keys, or no reviews; nil: it does.
	keysError, reviewError error
}

func newKubernetesIssuer(sources *keysource.Sources, cluster Cluster) *kubernetesIssuer {
	k := &kubernetesIssuer{cluster: cluster}
	k.source = sources.Of("ServiceAccounts", "", func(ctx context.Context) (jwks.Set, time.Duration, error) {
		iss, keys, err := cluster.ServiceAccountKeys(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.keysError = err; err != nil {
			return jwks.Set{}, 0, err
		}
		k.iss = iss
		return keys, pollInterval, nil
	})
	return k
}

// issuer returns the iss of ServiceAccount tokens; "" if the API server has not said it yet.
func (k *kubernetesIssuer) issuer(ctx context.Context) string {
	iss, _ := k.state()
	if iss == "" {
		k.source.Load(ctx)
		iss, _ = k.state()
	}
	return iss
}

func (k *kubernetesIssuer) state() (iss string, problem error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keysError != nil {
		return k.iss, fmt.Errorf("cannot read the keys of the cluster: %w (the ClusterRole system:service-account-issuer-discovery, which Kubernetes "+
			"binds to all ServiceAccounts, lets them be read)", k.keysError)
	}
	return k.iss, k.reviewError
}

// poll fetches the keys, and looks whether tokens may be reviewed if that is wanted.
func (k *kubernetesIssuer) poll(ctx context.Context, issuer documents.WorkloadIssuer) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	k.source.Refresh(ctx)
	var problem error
	if issuer.TokenReview {
		if may, err := k.cluster.MayReviewTokens(ctx); err == nil && !may {
			problem = errNoReviews
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reviewError = problem
}

var errNoReviews = errors.New("the API server does not let the token server review tokens, so no workload of the cluster can authenticate: " +
	"bind the ClusterRole oauth-operator-token-reviewer to its ServiceAccount")

// keep polls the API server if that is due.
func (k *kubernetesIssuer) keep(ctx context.Context, issuer documents.WorkloadIssuer, now time.Time) {
	if k.polled.Name == issuer.Name && k.polled.TokenReview == issuer.TokenReview && now.Before(k.due) {
		return
	}
	k.poll(ctx, issuer)
	k.polled, k.due = issuer, now.Add(pollInterval)
	if _, problem := k.state(); problem != nil {
		k.due = now.Add(pollRetryInterval)
	}
}
