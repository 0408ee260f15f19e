package process

import (
	"bytes"
	"io"
	"sync"
)

// Lines returns a writer that passes whole lines on to out, each behind the prefix and in one
// Write, so that the lines of several programs do not run into one another. A line that is not
// finished yet is held back, up to 64 KiB.
func Lines(out io.Writer, prefix string) io.Writer { return &lines{out: out, prefix: prefix} }

const longestLine = 64 << 10

type lines struct {
	out    io.Writer
	prefix string

	mu   sync.Mutex
	rest []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		end := bytes.IndexByte(l.rest, '\n')
		if end < 0 && len(l.rest) < longestLine {
			return len(p), nil
		}
		line := l.rest
		if end >= 0 {
			line = l.rest[:end]
			l.rest = l.rest[end+1:]
		} else {
			l.rest = nil
		}
		if _, err := l.out.Write([]byte(l.prefix + string(line) + "\n")); err != nil {
			return 0, err
		}
	}
}

// Shared makes a writer safe for several goroutines.
func Shared(out io.Writer) io.Writer { return &shared{out: out} }

type shared struct {
	mu  sync.Mutex
	out io.Writer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}
