package keysource

import (
	"sync"
	"time"
)

const (
	// budgetWindow and budgetSize bound the fetches from one host for unknown kids.
	budgetWindow = time.Minute
	budgetSize   = 6
)

// hostBudget counts the fetches from each host for unknown kids, so that many sources at one host do
// not add up.
type hostBudget struct {
	mu    sync.Mutex
	taken map[string][]time.Time // within the window, by host
}

func newHostBudget() *hostBudget { return &hostBudget{taken: map[string][]time.Time{}} }

// take takes one fetch from the budget of a host, and reports whether there was one left.
func (b *hostBudget) take(host string, now time.Time) bool {
	if host == "" {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for each, times := range b.taken { // as many as there are hosts that were asked within a minute
		for len(times) > 0 && now.Sub(times[0]).Abs() >= budgetWindow {
			times = times[1:]
		}
		b.taken[each] = times
		if len(times) == 0 {
			delete(b.taken, each)
		}
	}
	if len(b.taken[host]) >= budgetSize {
		return false
	}
	b.taken[host] = append(b.taken[host], now)
	return true
}
