package granttest

import (
	"context"
	"sync"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Watched is a store with cheaper reads beside its own (storage.Recent): of copies, that follow the records as a watch brings them. What goes
// wrong with a call to the store does not touch them. Hold makes them lag.
type Watched struct {
	storage.Store
	follows storage.Reader

	mu   sync.Mutex
	held map[string]storage.Grant
}

// Watch makes the grants of the World rest on the store, whose records are those of Memory, and on copies of them.
func (w *World) Watch(store storage.Store) *Watched {
	watched := &Watched{Store: store, follows: w.Memory}
	w.Grants.Store = watched
	return watched
}

// Hold keeps the copies of these grants as they are given, whatever becomes of the records.
func (w *Watched) Hold(grants ...storage.Grant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = map[string]storage.Grant{}
	for _, g := range grants {
		w.held[g.ID] = g
	}
}

// CatchUp ends every Hold.
func (w *Watched) CatchUp() { w.Hold() }

// RecentReader gives reads of the copies.
func (w *Watched) RecentReader() storage.Reader { return copies{w} }

type copies struct{ of *Watched }

// GetGrant implements storage.Reader.
func (c copies) GetGrant(ctx context.Context, id string) (storage.Grant, error) {
	c.of.mu.Lock()
	g, held := c.of.held[id]
	c.of.mu.Unlock()
	if held {
		return g, nil
	}
	return c.of.follows.GetGrant(ctx, id)
}

// HasConsent implements storage.Reader.
func (c copies) HasConsent(ctx context.Context, userUID, clientUID, consentUID string) (bool, error) {
	return c.of.follows.HasConsent(ctx, userUID, clientUID, consentUID)
}

// IsMarked implements storage.Reader.
func (c copies) IsMarked(ctx context.Context, kind storage.MarkKind, id string) (bool, error) {
	return c.of.follows.IsMarked(ctx, kind, id)
}
