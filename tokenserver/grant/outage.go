package grant

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// outages records when the store was unavailable, as far as refreshes of this process have noticed.
// A client whose refresh happened without an answer gets none at any replica while the store is
// unavailable. So that time does not count towards the grace period, in which the client may send
// the replaced token again.
type outages struct {
	mu sync.Mutex
	// spans are series of failures without a success between them, the latest last.
	spans   []span
	ongoing bool
}

// span is the time from a first failure to the last one.
type span struct{ from, to time.Time }

const (
	// maxOutage is how much longer outages may make the grace period.
	maxOutage = unconfirmedRetention
	maxSpans  = 16
)

// record records how a refresh ended. Any answer of the store ends an outage. If the caller
// cancelled the request, its failure says nothing about the store.
func (o *outages) record(ctx context.Context, err error, now time.Time) {
	unavailable := errors.Is(err, storage.ErrUnavailable)
	if unavailable && ctx.Err() != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case unavailable && o.ongoing:
		o.spans[len(o.spans)-1].to = now
	case unavailable:
		o.spans = append(o.spans[max(0, len(o.spans)-maxSpans+1):], span{now, now})
	}
	o.ongoing = unavailable
}

// durationSince returns for how much of the time since then the store was unavailable, and at most
// maxOutage.
func (o *outages) durationSince(then time.Time) (total time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.spans {
		if s.from.Before(then) {
			s.from = then
		}
		total += max(s.to.Sub(s.from), 0)
	}
	return min(total, maxOutage)
}
