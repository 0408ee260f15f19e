package workload

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver"
)

const (
	// reviewLifetime is how long an answer of the API server counts, good or bad.
	reviewLifetime = 10 * time.Second
	// reviewTimeout bounds a review, with the time that it waits for a place.
	reviewTimeout = 5 * time.Second
	// maxReviews is how many reviews are under way at once.
	maxReviews = 16
	// maxReviewed is how many answers are kept. Only tokens that their issuer has signed are reviewed.
	maxReviewed = 10_000
)

// Review is what the API server says of a token.
type Review struct {
	Authenticated bool
	// Audiences are those of the token for which it was asked and that the API server confirms.
	Audiences []string
	Username  string
	UID       string
}

// reviews has the API server review tokens.
type reviews struct {
	cluster Cluster
	now     func() time.Time
	places  chan struct{}

	mu       sync.Mutex
	answered map[[sha256.Size]byte]answer // by the hash of the token
	asking   map[[sha256.Size]byte]chan struct{}
}

type answer struct {
	isGood bool
	until  time.Time
}

func newReviews(cluster Cluster, now func() time.Time) *reviews {
	return &reviews{
		cluster: cluster, now: now, places: make(chan struct{}, maxReviews),
		answered: map[[sha256.Size]byte]answer{}, asking: map[[sha256.Size]byte]chan struct{}{},
	}
}

// review returns an *InvalidError if the API server does not accept the token for the audience as
// that of the identity. All requests that send one token wait for one review.
func (r *reviews) review(ctx context.Context, identity Identity, token, audience string) (err error) {
	httpserver.Wait(ctx, func(ctx context.Context) { err = r.await(ctx, identity, token, audience) })
	return err
}

func (r *reviews) await(ctx context.Context, identity Identity, token, audience string) error {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	hash := sha256.Sum256([]byte(token))
	for {
		isGood, isKnown, wait := r.begin(hash)
		switch {
		case isKnown && isGood:
			return nil
		case isKnown:
			return invalidf("the API server does not accept it any more, because its Pod or ServiceAccount was deleted: use that of one that exists")
		case wait == nil:
			if err := r.ask(ctx, hash, identity, token, audience); err != nil {
				return err
			}
			continue
		}
		select {
		case <-wait: // the answer is there, or the review failed and it is this request's turn
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
	}
}

// begin returns the answer about a token if it is known, else the channel that is closed when the
// review that is under way ends. If it returns neither, the caller has to ask.
func (r *reviews) begin(hash [sha256.Size]byte) (isGood, isKnown bool, wait chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a, ok := r.answered[hash]; ok && r.now().Before(a.until) {
		return a.isGood, true, nil
	}
	if wait = r.asking[hash]; wait == nil {
		r.asking[hash] = make(chan struct{})
	}
	return false, false, wait
}

// ask asks the API server and keeps the answer.
func (r *reviews) ask(ctx context.Context, hash [sha256.Size]byte, identity Identity, token, audience string) error {
	review, err := r.askInPlace(ctx, token, audience)
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.asking[hash])
	delete(r.asking, hash)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if len(r.answered) >= maxReviewed {
		r.removeOutdated()
	}
	if len(r.answered) >= maxReviewed {
		clear(r.answered) // more are in use at once than fit: each is asked about again
	}
	r.answered[hash] = answer{accepts(review, identity, audience), r.now().Add(reviewLifetime)}
	return nil
}

func (r *reviews) askInPlace(ctx context.Context, token, audience string) (Review, error) {
	select {
	case r.places <- struct{}{}:
	case <-ctx.Done():
		return Review{}, ctx.Err()
	}
	defer func() { <-r.places }()
	return r.cluster.ReviewToken(ctx, token, audience)
}

// removeOutdated removes the answers that do not count any more. The caller holds the lock.
func (r *reviews) removeOutdated() {
	now := r.now()
	for hash, a := range r.answered {
		if !now.Before(a.until) {
			delete(r.answered, hash)
		}
	}
}

// accepts reports whether the API server has confirmed an identity for an audience. An API server
// that knows nothing of audiences returns none (TokenReviewStatus.audiences).
func accepts(review Review, identity Identity, audience string) bool {
	return review.Authenticated && slices.Contains(review.Audiences, audience) &&
		review.Username == identity.Subject && review.UID == identity.UID
}
