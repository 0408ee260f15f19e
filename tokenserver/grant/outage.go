package grant

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// outages are the times for which the store was away, as far as the refreshes of this process have noticed. A client whose refresh has happened
// without an answer cannot get one while the store is away, at whichever replica it asks. So the grace, in which it may come again with the
// token that was replaced, does not run down meanwhile.
type outages struct {
	mu sync.Mutex
	// spans of failures without an answer between them, the latest last.
	spans   []span
	ongoing bool
}

// span from a first failure to the last.
type span struct{ from, to time.Time }

const (
	// maxOutage is how long outages may stop the grace.
	maxOutage = unconfirmedRetention
	maxSpans  = 16
)

// note how a refresh ended. Whatever could be read or written ends an outage; that a caller has hung up says nothing about the store.
func (o *outages) record(ctx context.Context, err error, now time.Time) {
	away := errors.Is(err, storage.ErrUnavailable)
	if away && ctx.Err() != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case away && o.ongoing:
		o.spans[len(o.spans)-1].to = now
	case away:
		o.spans = append(o.spans[max(0, len(o.spans)-maxSpans+1):], span{now, now})
	}
	o.ongoing = away
}

// since says for how much of the time since then the store was away.
func (o *outages) durationSince(then time.Time) (away time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.spans {
		if s.from.Before(then) {
			s.from = then
		}
		away += max(s.to.Sub(s.from), 0)
	}
	return min(away, maxOutage)
}
