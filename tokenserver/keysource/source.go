package keysource

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks"
)

// Source is one key set that is fetched. Safe for concurrent use.
type Source struct {
	sources  *Sources
	host     string
	get      Fetch
	lastUsed atomic.Int64 // Unix time in nanoseconds

	mu        sync.Mutex
	set       jwks.Set
	fetchedAt time.Time // of set; zero: never
	interval  time.Duration
	triedAt   time.Time     // when the last fetch ended, whatever came of it
	askedAt   time.Time     // when the last fetch ended that a request has caused
	revision  int           // of the rules under which the last fetch began
	allowedBy int           // the revision of the rules under which set was fetched
	failed    error         // of the last fetch; nil: it succeeded
	fetching  chan struct{} // closed when the fetch that is under way ends; nil: none is
}

// Verify returns the key that signed j. The error wraps jwks.ErrUnknownKey, also if the source has
// never been reached or not for too long, or jwks.ErrSignature. It waits for a fetch if the set is
// missing or was not compared with the source for MaxInterval, or if it lacks the key.
func (s *Source) Verify(ctx context.Context, j jwks.JWS) (jwks.Key, error) {
	set := s.current(ctx)
	key, err := set.Verify(j)
	if !errors.Is(err, jwks.ErrUnknownKey) {
		return key, err
	}
	if !s.fetchForUnknownKey(ctx) {
		return jwks.Key{}, err
	}
	return s.usable().Verify(j)
}

// current returns the set to verify with.
func (s *Source) current(ctx context.Context) jwks.Set {
	s.mu.Lock()
	now := s.sources.now()
	isMissing := s.fetchedAt.IsZero() || now.Sub(s.fetchedAt) >= GracePeriod
	otherRules := s.revision != s.sources.client.Revision()
	// A source that was asked and did not answer is asked again in the background.
	mustWait := isMissing || otherRules || now.Sub(s.triedAt) >= MaxInterval
	done := (<-chan struct{})(s.fetching)
	if done == nil && s.mayTry(now) && (mustWait || now.Sub(s.fetchedAt) >= s.interval) {
		done = s.start(true)
	}
	s.mu.Unlock()
	if done != nil && mustWait {
		wait(ctx, done)
	}
	return s.usable()
}

// usable returns the set; an empty one if it does not count any more.
func (s *Source) usable() jwks.Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fetchedAt.IsZero() || s.sources.now().Sub(s.fetchedAt) >= GracePeriod {
		return jwks.Set{}
	}
	return s.set
}

// fetchForUnknownKey fetches the set for a key that it lacks, if it is time, and reports whether the
// set may be another one now.
func (s *Source) fetchForUnknownKey(ctx context.Context) bool {
	s.mu.Lock()
	done := (<-chan struct{})(s.fetching)
	if done == nil {
		now := s.sources.now()
		if !s.mayTry(now) || !s.sources.budget.take(s, now) {
			s.mu.Unlock()
			return false
		}
		done = s.start(true)
	}
	s.mu.Unlock()
	wait(ctx, done)
	return true
}

// Load fetches the set if that has never been done, for a caller that needs what comes with it, and
// waits for that. It delays no fetch for an unknown kid.
func (s *Source) Load(ctx context.Context) {
	s.mu.Lock()
	done := (<-chan struct{})(s.fetching)
	now := s.sources.now()
	if done == nil && s.fetchedAt.IsZero() && (s.triedAt.IsZero() || now.Sub(s.triedAt).Abs() >= RetryInterval) {
		done = s.start(false)
	}
	s.mu.Unlock()
	if done != nil {
		wait(ctx, done)
	}
}

// Refresh fetches the set, for a caller that does so at times of its own, and waits for that. It
// delays no fetch for an unknown kid.
func (s *Source) Refresh(ctx context.Context) {
	s.mu.Lock()
	done := (<-chan struct{})(s.fetching)
	if done == nil {
		done = s.start(false)
	}
	s.mu.Unlock()
	wait(ctx, done)
}

// mayTry reports whether the last fetch for a request was long enough ago. The caller holds the lock.
func (s *Source) mayTry(now time.Time) bool {
	return s.fetching == nil && (s.askedAt.IsZero() || now.Sub(s.askedAt).Abs() >= RetryInterval)
}

// start starts a fetch, which no request can cancel, since others may wait for it too. It returns a
// channel that is closed when the fetch has ended. Asked is whether a request has caused it. The
// caller holds the lock.
func (s *Source) start(asked bool) <-chan struct{} {
	done := make(chan struct{})
	s.fetching = done
	revision := s.sources.client.Revision()
	s.revision = revision
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), 2*fetch.Timeout) // of discovery and of the set
		defer cancel()
		set, maxAge, err := s.get(ctx)
		s.finish(set, maxAge, err, revision, asked)
	}()
	return done
}

// finish stores what came of a fetch under the rules of a revision. If they do not allow the source,
// and others did when its last set was fetched, that set does not count either.
func (s *Source) finish(set jwks.Set, maxAge time.Duration, err error, revision int, asked bool) {
	s.sources.metrics.count(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.sources.now()
	s.triedAt, s.failed, s.fetching = now, err, nil
	if asked {
		s.askedAt = now
	}
	if err != nil {
		if revision != s.allowedBy && errors.Is(err, fetch.ErrNotAllowed) {
			s.set, s.fetchedAt = jwks.Set{}, time.Time{}
		}
		return
	}
	s.set, s.fetchedAt, s.allowedBy, s.interval = set, now, revision, DefaultInterval
	if maxAge > 0 {
		s.interval = min(max(maxAge, MinInterval), MaxInterval)
	}
}

func wait(ctx context.Context, done <-chan struct{}) {
	httpserver.Wait(ctx, func(ctx context.Context) {
		select {
		case <-done:
		case <-ctx.Done():
		}
	})
}
