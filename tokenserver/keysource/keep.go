package keysource

import (
	"context"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
)

const (
	// keepInterval is how often Keep looks which sets are due.
	keepInterval = 5 * time.Second
	// keepWorkers is how many sets it fetches at once.
	keepWorkers = 8
	// awayInterval is how often it tries a source that is away. A request tries again after
	// RetryInterval.
	awayInterval = time.Minute
	// unnamedPeriod is how long a set is kept that no client names any more and no request uses.
	unnamedPeriod = time.Minute
)

// Keep fetches the key sets of clients before a request needs them, and again when they are due,
// until ctx ends. urls returns where they are; what is elsewhere is forgotten.
func (s *Sources) Keep(ctx context.Context, urls func() []string) {
	workers := make(chan struct{}, keepWorkers)
	for {
		named := urls()
		s.removeUnnamed(named)
		for _, url := range named {
			source := s.URL(fetch.ForClient, url)
			if !source.isDue() {
				continue
			}
			select {
			case workers <- struct{}{}:
			case <-ctx.Done():
				return
			}
			go func() {
				defer func() { <-workers }()
				source.Refresh(ctx)
			}()
		}
		if !clock.Sleep(ctx, keepInterval) {
			return
		}
	}
}

// removeUnnamed forgets the key sets of clients that are at none of the URLs. A client whose jwksURI
// is changed again and again would else fill the memory.
func (s *Sources) removeUnnamed(urls []string) {
	named := make(map[string]bool, len(urls))
	for _, url := range urls {
		named[clientKey(url)] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for key, source := range s.byKey {
		if strings.HasPrefix(key, clientKey("")) && !named[key] && now.Sub(time.Unix(0, source.lastUsed.Load())).Abs() >= unnamedPeriod {
			delete(s.byKey, key)
		}
	}
}

// Keep starts to fetch the set if that is due, for a caller that asks again and again: so a request
// finds it, and it is known before one comes that the source is away. It delays no fetch for an
// unknown kid.
func (s *Source) Keep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dueLocked() {
		s.start(false)
	}
}

func (s *Source) isDue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dueLocked()
}

// dueLocked reports whether the set is missing, too old, or was fetched under other rules. The caller
// holds the lock.
func (s *Source) dueLocked() bool {
	now := s.sources.now()
	switch {
	case s.fetching != nil:
		return false
	case s.triedAt.IsZero(), s.revision != s.sources.client.Revision():
		return true
	case s.failed != nil:
		return now.Sub(s.triedAt).Abs() >= awayInterval
	default:
		return now.Sub(s.fetchedAt).Abs() >= s.interval
	}
}

// FailingURL returns why the last fetch of the key set of a client failed; empty if it did not, or
// if there was none.
func (s *Sources) FailingURL(url string) fetch.Reason {
	s.mu.Lock()
	source := s.byKey[clientKey(url)]
	s.mu.Unlock()
	if source == nil {
		return ""
	}
	if err := source.lastError(); err != nil {
		return fetch.ReasonOf(err)
	}
	return ""
}
