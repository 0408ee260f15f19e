package grant

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

func TestAnOutageIsWhatWasNoticedOfTheStore(t *testing.T) {
	began := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	hungUp, hangUp := context.WithCancel(t.Context())
	hangUp()
	away, refused := fmt.Errorf("there: %w", storage.ErrUnavailable), invalidGrant("no")
	type note struct {
		at  int
		err error
	}
	for _, test := range []struct {
		name  string
		notes []note
		ctx   context.Context
		then  int
		want  time.Duration
	}{
		{name: "no outage", notes: []note{{0, nil}}},
		{name: "it lasts", notes: []note{{10, away}, {20, away}, {70, away}}, want: time.Minute},
		{name: "it is over", notes: []note{{10, away}, {70, away}, {71, nil}, {100, nil}}, then: 9, want: time.Minute},
		{name: "a refusal is an answer", notes: []note{{10, away}, {20, refused}, {70, away}}},
		{name: "noticed when the write had been", notes: []note{{10, away}, {70, away}}, then: 15, want: 55 * time.Second},
		{name: "before it was written", notes: []note{{10, away}, {12, away}}, then: 15},
		{name: "one failure", notes: []note{{10, away}}},
		{name: "single failures among answers", notes: []note{{10, away}, {11, nil}, {20, away}, {21, nil}, {30, away}, {31, nil}}},
		{name: "by fits and starts", notes: []note{{10, away}, {60, away}, {61, nil}, {62, away}, {70, away}}, want: 58 * time.Second},
		{name: "two", notes: []note{{10, away}, {70, away}, {71, nil}, {75, away}, {135, away}}, then: 74, want: time.Minute},
		{name: "a very long one", notes: []note{{10, away}, {7200, away}}, want: maxOutage},
		{name: "the caller has hung up", notes: []note{{10, away}, {70, away}}, ctx: hungUp},
		{name: "others were faster every time", notes: []note{{10, storage.ErrAmbiguous}, {70, storage.ErrAmbiguous}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var o outages
			ctx := test.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			for _, n := range test.notes {
				o.record(ctx, n.err, at(n.at))
			}
			if got := o.durationSince(at(test.then)); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestOutagesAreBounded(t *testing.T) {
	var o outages
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for range 100 * maxSpans {
		for _, err := range []error{storage.ErrUnavailable, storage.ErrUnavailable, nil} {
			now = now.Add(time.Second)
			o.record(t.Context(), err, now)
		}
	}
	if len(o.spans) != maxSpans || o.durationSince(time.Time{}) != maxSpans*time.Second {
		t.Errorf("%d spans, of %s", len(o.spans), o.durationSince(time.Time{}))
	}
}
