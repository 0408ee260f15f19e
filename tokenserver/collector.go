package tokenserver

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// room is how much is allocated between two garbage collections, at the least, in bytes.
	room = 32 << 20
	// defaultPercent is the runtime's: the heap is collected when it has doubled.
	defaultPercent = 100
)

// keepRoom lets a small heap grow by more than its size before it is collected, until ctx ends. What a request allocates is garbage when it is
// answered; the heap of a server with few clients has doubled after some hundred requests, and to look through all that is alive so often costs a
// quarter of a token request. From a live heap of room on, everything is as the runtime has it. Whoever sets GOGC decides instead.
func (p *program) keepRoom(ctx context.Context) {
	if set := debug.SetGCPercent(defaultPercent); set != defaultPercent {
		debug.SetGCPercent(set)
		return
	}
	defer debug.SetGCPercent(defaultPercent)
	live, percent := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}, defaultPercent
	for wait(ctx, poll) {
		metrics.Read(live)
		if live[0].Value.Kind() != metrics.KindUint64 {
			return // another runtime
		}
		// Setting it stops all goroutines for a moment: not for a little.
		if next := percentFor(live[0].Value.Uint64()); next > percent+percent/8 || next < percent-percent/8 {
			debug.SetGCPercent(next)
			percent = next
		}
	}
}

// percentFor a live heap of so many bytes; 0 before the first collection.
func percentFor(live uint64) int {
	if live == 0 || live >= room {
		return defaultPercent
	}
	return int(min(room*100/live, 10*defaultPercent))
}
