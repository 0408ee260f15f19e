// Package sharedstrings gives equal strings one memory, for what many decoded objects say alike. The
// manager shares what its cache holds by it, and the token server what its registry does.
//
// Package unique does so only until the next garbage collection unless who asks keeps its handle: what
// is decoded later has copies of its own.
package sharedstrings

import (
	"strings"
	"sync"
)

// A Table forgets all when its strings take maxBytes, and does not share one longer than maxLength:
// what only one object says takes little memory here, and what many say is soon known again.
const (
	maxBytes  = 2 << 20
	maxLength = 2 << 10
	overhead  = 64 // of a string in the map, about
)

// Table knows strings that were shared. The zero Table knows none.
type Table struct {
	mu    sync.Mutex
	known map[string]string
	bytes int // of the strings, with their overhead
}

// Share gives a string the memory of the one that was equal to it before. The first is copied, since it may
// be part of something large.
func Share[S ~string](t *Table, s *S) {
	if *s != "" && len(*s) <= maxLength {
		*s = S(t.share(string(*s)))
	}
}

func (t *Table) share(s string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, ok := t.known[s]; ok {
		return known
	}
	if t.bytes += len(s) + overhead; t.known == nil || t.bytes > maxBytes {
		t.known, t.bytes = map[string]string{}, len(s)+overhead
	}
	s = strings.Clone(s)
	t.known[s] = s
	return s
}
