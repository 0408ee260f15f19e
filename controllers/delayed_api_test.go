package controllers

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// delayedAPI delays some of what the managers that the test starts from now on hear from the API
// server, or say to it.
type delayedAPI struct {
	mu      sync.Mutex
	changed *sync.Cond
	watches bool   // of the kind: their events are held back
	writes  string // a part of the path of writes that are held back; empty: none are
}

// delayAPI delays what the watches of a kind tell, whose URLs end so, and writes.
func delayAPI(t *testing.T, kind string) *delayedAPI {
	t.Helper()
	d := &delayedAPI{}
	d.changed = sync.NewCond(&d.mu)
	interceptRequests(t, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method != http.MethodGet {
			d.waitUntil(r.Context(), func() bool { return d.writes == "" || !strings.Contains(r.URL.Path, d.writes) })
			return next.RoundTrip(r)
		}
		response, err := next.RoundTrip(r)
		if err == nil && strings.HasSuffix(r.URL.Path, kind) && r.URL.Query().Get("watch") != "" {
			response.Body = &delayedBody{response.Body, r.Context(), d}
		}
		return response, err
	})
	t.Cleanup(func() { d.set(false, "") })
	return d
}

// set says what is held back from now on, and lets all else pass.
func (d *delayedAPI) set(watches bool, writes string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watches, d.writes = watches, writes
	d.changed.Broadcast()
}

// waitUntil waits for a condition, which is called with the lock held, or until ctx ends.
func (d *delayedAPI) waitUntil(ctx context.Context, condition func() bool) {
	defer context.AfterFunc(ctx, d.changed.Broadcast)()
	d.mu.Lock()
	defer d.mu.Unlock()
	for !condition() && ctx.Err() == nil {
		d.changed.Wait()
	}
}

// delayedBody is the body of a watch.
type delayedBody struct {
	io.ReadCloser

	ctx context.Context //nolint:containedctx // of the request whose response this is
	api *delayedAPI
}

func (b *delayedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.api.waitUntil(b.ctx, func() bool { return !b.api.watches })
	return n, err
}
