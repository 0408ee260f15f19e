package batchlog_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/batchlog"
)

// output is a log's reader. It counts the writes.
type output struct {
	mu     sync.Mutex
	text   bytes.Buffer
	writes int
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writes++
	return o.text.Write(p)
}

// read returns the lines that were written, and in how many writes.
func (o *output) read() (lines []string, writes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Split(strings.TrimSuffix(o.text.String(), "\n"), "\n"), o.writes
}

func TestLinesAreWrittenTogetherAfterTenMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &output{}
		log, _ := batchlog.New(out)
		for range 2 { // the timer runs again for the next lines
			_, before := out.read()
			for range 20 {
				log.Info("request")
			}
			time.Sleep(10*time.Millisecond - time.Nanosecond)
			synctest.Wait()
			if _, writes := out.read(); writes != before {
				t.Fatalf("%d writes before the time", writes-before)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if _, writes := out.read(); writes != before+1 {
				t.Fatalf("%d writes, want one", writes-before)
			}
		}
		if lines, _ := out.read(); len(lines) != 40 {
			t.Errorf("%d lines, want 40", len(lines))
		}
	})
}

func TestAWarningIsWrittenBeforeTheCallReturnsAndAllLinesBeforeItToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &output{}
		log, _ := batchlog.New(out)
		for _, level := range []slog.Level{slog.LevelWarn, slog.LevelError} {
			for _, derived := range []*slog.Logger{log, log.With("a", "b"), log.WithGroup("g")} {
				_, before := out.read()
				log.Info("before")
				derived.Log(t.Context(), level, "now")
				lines, writes := out.read()
				if writes != before+1 || !strings.Contains(lines[len(lines)-2], `"before"`) || !strings.Contains(lines[len(lines)-1], `"now"`) {
					t.Fatalf("after %s there were %d writes, and the log is %q", level, writes-before, lines)
				}
			}
		}
	})
}

func TestFlushWritesWhatWaits(t *testing.T) {
	out := &output{}
	log, flush := batchlog.New(out)
	log.Info("last words")
	if err := flush(); err != nil {
		t.Fatal(err)
	}
	if lines, _ := out.read(); !strings.Contains(lines[0], "last words") {
		t.Errorf("the log is %q", lines)
	}
}

func TestALogThatIsReadSlowlyLosesNoLineAndKeepsTheOrder(t *testing.T) {
	const writers, each = 8, 500
	reader, pipe := io.Pipe()
	log, flush := batchlog.New(pipe)
	var all sync.WaitGroup
	for writer := range writers {
		all.Go(func() {
			for i := range each {
				log.Info("line", "writer", writer, "i", i, "padding", strings.Repeat("x", 200))
			}
		})
	}
	go func() {
		all.Wait()
		_ = flush()
		_ = pipe.Close()
	}()
	count, next := 0, [writers]int{}
	for lines := bufio.NewScanner(reader); lines.Scan(); count++ {
		var line struct{ Writer, I int }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if line.I != next[line.Writer] {
			t.Fatalf("line %d of writer %d is where %d should be", line.I, line.Writer, next[line.Writer])
		}
		next[line.Writer]++
	}
	if count != writers*each {
		t.Fatalf("%d lines, want %d", count, writers*each)
	}
}

func TestAFullBatchIsWrittenByTheOneWhoFillsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &output{}
		log, _ := batchlog.New(out)
		for range 1000 { // no time passes
			log.Info("line", "padding", strings.Repeat("x", 200))
		}
		lines, writes := out.read()
		if waiting := 1000 - len(lines); waiting*200 > 32<<10 || writes > 20 {
			t.Errorf("%d lines wait after %d writes", waiting, writes)
		}
	})
}
