package keysource

import (
	"slices"
	"sync"
	"time"
)

const (
	// budgetWindow and budgetSize bound the fetches from one host for unknown kids.
	budgetWindow = time.Minute
	budgetSize   = 6
	// waitingPeriod is how long a place is kept for a source that was refused one.
	waitingPeriod = 2 * RetryInterval
)

// hostBudget counts the fetches from each host for unknown kids, so that many sources at one host do
// not add up. When there are too many, a source that had fewer than others comes before them: who
// floods one source does not keep the new key of another one unknown.
type hostBudget struct {
	mu     sync.Mutex
	byHost map[string]*places
}

// places are who had the fetches from one host within the window, and who was refused one.
type places struct {
	taken   []place // the oldest first
	waiting []place // in the order of their first refusal
}

type place struct {
	source *Source
	at     time.Time // of the fetch, or of the last refusal
}

func newHostBudget() *hostBudget { return &hostBudget{byHost: map[string]*places{}} }

// take takes one fetch from the budget of the host of a source, and reports whether there was one
// left.
func (b *hostBudget) take(s *Source, now time.Time) bool {
	if s.host == "" {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for host, p := range b.byHost { // as many as there are hosts that were asked within a minute
		if p.removeOutdated(now); len(p.taken) == 0 && len(p.waiting) == 0 {
			delete(b.byHost, host)
		}
	}
	p := b.byHost[s.host]
	if p == nil {
		p = &places{}
		b.byHost[s.host] = p
	}
	return p.take(s, now)
}

func (p *places) take(s *Source, now time.Time) bool {
	turn := slices.IndexFunc(p.waiting, func(w place) bool { return w.source == s })
	if len(p.taken)+p.countBefore(s, turn) >= budgetSize {
		if turn < 0 {
			p.waiting = append(p.waiting, place{s, now})
		} else {
			p.waiting[turn].at = now
		}
		return false
	}
	if turn >= 0 {
		p.waiting = slices.Delete(p.waiting, turn, turn+1)
	}
	p.taken = append(p.taken, place{s, now})
	return true
}

// countBefore returns how many sources come before one: they wait, and had fewer fetches, or as many
// and have waited for longer. Turn is the place of the source among those that wait, or -1.
func (p *places) countBefore(s *Source, turn int) (n int) {
	had := map[*Source]int{}
	for _, t := range p.taken {
		had[t.source]++
	}
	for i, w := range p.waiting {
		if w.source != s && (had[w.source] < had[s] || had[w.source] == had[s] && (turn < 0 || i < turn)) {
			n++
		}
	}
	return n
}

func (p *places) removeOutdated(now time.Time) {
	p.taken = slices.DeleteFunc(p.taken, func(t place) bool { return now.Sub(t.at).Abs() >= budgetWindow })
	p.waiting = slices.DeleteFunc(p.waiting, func(w place) bool { return now.Sub(w.at).Abs() >= waitingPeriod })
}
