// Package batchlog writes the lines of a log in batches: a write for each request takes a tenth of
// the CPU time of a token.
//
// A line waits at most 10 milliseconds, and none waits once a warning or an error is logged: that
// one and all before it are written before the call returns. A process that is killed by a signal
// that it cannot handle, such as SIGKILL, loses the lines that wait.
//
//	batchlog.go  the batch of lines
//	line.go      one line
package batchlog

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// maxDelay is how long a line waits at most.
	maxDelay = 10 * time.Millisecond
	// maxBatch is how many bytes of lines wait. Logging the line that makes it more writes them all, so
	// that a log which is read slowly slows down the requests, and loses nothing.
	maxBatch = 32 << 10
)

// New returns a log that writes JSON lines to out, and a function that writes the lines that wait.
func New(out io.Writer) (log *slog.Logger, flush func() error) {
	b := &batch{out: out}
	return slog.New(&handler{slog.NewJSONHandler(b, nil), b, true}), b.flush
}

// handler writes the records of level warning and above at once.
type handler struct {
	slog.Handler // of all records for which appendLine is not enough
	batch        *batch
	isPlain      bool // it has neither attributes nor a group of its own
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	added, err := false, error(nil)
	if h.isPlain {
		added, err = h.batch.addRecord(r)
	}
	if !added {
		err = h.Handler.Handle(ctx, r)
	}
	if r.Level >= slog.LevelWarn {
		err = errors.Join(err, h.batch.flush())
	}
	return err
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs), h.batch, false}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.batch, false}
}

// batch has the lines that wait.
type batch struct {
	out io.Writer

	mu    sync.Mutex
	lines []byte
	timer *time.Timer // that flushes; nil before the first line
	armed bool        // the timer runs

	writing sync.Mutex // is held while lines are written, so that they stay in order
	spare   []byte     // what was written last, for its memory
}

// Write adds a line.
func (b *batch) Write(line []byte) (int, error) {
	b.mu.Lock()
	b.lines = append(b.lines, line...)
	return len(line), b.unlock()
}

// addRecord adds the line of a record. It reports false, and adds nothing, if appendLine does.
func (b *batch) addRecord(r slog.Record) (added bool, err error) {
	b.mu.Lock()
	lines, ok := appendLine(b.lines, r)
	if !ok {
		b.mu.Unlock()
		return false, nil
	}
	b.lines = lines
	return true, b.unlock()
}

// unlock unlocks b.mu after a line was added, and writes the lines if they are too many to wait.
func (b *batch) unlock() error {
	isFull := len(b.lines) >= maxBatch
	if !isFull && !b.armed {
		b.arm()
	}
	b.mu.Unlock()
	if isFull {
		return b.flush()
	}
	return nil
}

// arm starts the timer. The caller holds the lock.
func (b *batch) arm() {
	b.armed = true
	if b.timer == nil {
		b.timer = time.AfterFunc(maxDelay, func() { _ = b.flush() }) // a log has no other place to say that it failed
		return
	}
	b.timer.Reset(maxDelay)
}

// flush writes the lines that wait. Once it returns, all that were added before the call are
// written.
func (b *batch) flush() error {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.Lock()
	lines := b.lines
	b.lines, b.armed = b.spare[:0], false
	b.mu.Unlock()
	b.spare = lines
	if len(lines) == 0 {
		return nil
	}
	_, err := b.out.Write(lines)
	return err
}
