package controllers

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/test/eventually"
)

// writeRecorder records the requests of a manager that change an object, except events.
type writeRecorder struct {
	mu      sync.Mutex
	made    []string
	allowed int // how many succeed; negative: all
	refused int
}

// recordWrites records the writes of the managers that the test starts from now on.
func recordWrites(t *testing.T) *writeRecorder {
	t.Helper()
	made := &writeRecorder{allowed: -1}
	interceptRequests(t, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/events") && !made.record(r) {
			return nil, context.Canceled
		}
		return next.RoundTrip(r)
	})
	return made
}

// interceptRequests has the managers that the test starts from now on send their requests to the API
// server by send, which hands on to next what is to reach it.
func interceptRequests(t *testing.T, send func(r *http.Request, next http.RoundTripper) (*http.Response, error)) {
	t.Helper()
	before := managerConfig
	t.Cleanup(func() { managerConfig = before })
	managerConfig = rest.CopyConfig(before)
	managerConfig.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) { return send(r, next) })
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (w *writeRecorder) record(r *http.Request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.allowed >= 0 && len(w.made) >= w.allowed {
		w.refused++
		return false
	}
	w.made = append(w.made, r.Method+" "+r.URL.Path)
	return true
}

// limit forgets the recorded writes and lets n succeed from now on, or all if n is negative.
func (w *writeRecorder) limit(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made, w.allowed, w.refused = nil, n, 0
}

func (w *writeRecorder) hasRefused() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused > 0
}

// whileWritesFail runs do while no write of the manager succeeds, so that the manager sees only the
// result of what do does.
func (w *writeRecorder) whileWritesFail(t *testing.T, do func()) {
	t.Helper()
	w.limit(0)
	do()
	eventually.True(t, "the manager has tried to write", w.hasRefused)
	w.limit(-1)
}

// matching returns the writes whose path contains a text.
func (w *writeRecorder) matching(text string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []string
	for _, made := range w.made {
		if strings.Contains(made, text) {
			found = append(found, made)
		}
	}
	return found
}

// waitUntilQuiet waits until nothing has been written for a while, and forgets the recorded writes.
func (w *writeRecorder) waitUntilQuiet(t *testing.T) {
	t.Helper()
	const quiet = countDelay + 300*time.Millisecond
	last, since := -1, time.Now()
	for deadline := time.Now().Add(30 * time.Second); time.Since(since) < quiet; time.Sleep(20 * time.Millisecond) {
		w.mu.Lock()
		n := len(w.made)
		w.mu.Unlock()
		if n != last {
			last, since = n, time.Now()
		}
		if time.Now().After(deadline) {
			t.Fatalf("the manager does not stop writing: %q", w.matching("")[max(0, n-20):])
		}
	}
	w.mu.Lock()
	w.made = nil
	w.mu.Unlock()
}

// checkUntilQuiet waits until the writes stop, and fails the test if there were more than most.
func (w *writeRecorder) checkUntilQuiet(t *testing.T, most int, when string) {
	t.Helper()
	var made []string
	for last := -1; len(made) != last; made = w.matching("") {
		last = len(made)
		time.Sleep(countDelay + 300*time.Millisecond)
	}
	if len(made) > most {
		t.Errorf("%s: %d writes: %q", when, len(made), made[:min(10, len(made))])
	}
}
