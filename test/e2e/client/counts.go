package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// keptFailures is how many failures are told one by one.
const keptFailures = 5000

// failure of one request.
type failure struct {
	At     time.Time `json:"at"`
	After  string    `json:"after"` // how long the request took
	Worker string    `json:"worker"`
	Grant  string    `json:"grant"`
	Kind   string    `json:"kind"`
	Text   string    `json:"text"`
}

// counts of requests since the start.
type counts struct {
	mu       sync.Mutex
	Requests map[string]int `json:"requests"` // by grant type
	Failed   map[string]int `json:"failed"`   // by kind
	Slowest  string         `json:"slowest"`
	Failures []failure      `json:"failures"`
	slowest  time.Duration
}

func newCounts() *counts {
	return &counts{Requests: map[string]int{}, Failed: map[string]int{}, Failures: []failure{}}
}

func (c *counts) add(worker, grant string, began time.Time, err error) {
	took := time.Since(began)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Requests[grant]++
	if took > c.slowest {
		c.slowest, c.Slowest = took, took.Round(time.Millisecond).String()
	}
	if err == nil {
		return
	}
	kind := kindOf(err)
	c.Failed[kind]++
	if len(c.Failures) < keptFailures {
		c.Failures = append(c.Failures, failure{began, took.Round(time.Millisecond).String(), worker, grant, kind, err.Error()})
	}
}

// kindOf says what became of a request. What begins with "connection " never had an answer.
func kindOf(err error) string {
	if e, ok := errors.AsType[errorAnswer](err); ok {
		return strings.TrimSpace(fmt.Sprintf("status %d %s", e.Status, e.answer.Error))
	}
	for _, kind := range []struct {
		name string
		errs []error
	}{
		{"connection refused", []error{syscall.ECONNREFUSED}},
		{"connection reset", []error{syscall.ECONNRESET, syscall.EPIPE}},
		{"connection closed", []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed}},
		{"connection unreachable", []error{syscall.EHOSTUNREACH, syscall.ENETUNREACH}},
	} {
		if slices.ContainsFunc(kind.errs, func(e error) bool { return errors.Is(err, e) }) {
			return kind.name
		}
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return "connection timeout"
	}
	return "other"
}

// ServeHTTP answers with the counts.
func (c *counts) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	content, err := json.Marshal(c)
	c.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(content) // the reader may be gone
}
