package process

import (
	"bytes"
	"io"
	"sync"
)

// NewPrefixWriter returns a writer that passes whole lines on to out, each with the prefix and in
// one Write, so that lines of several programs are not mixed. It holds back an unfinished line of
// up to 64 KiB.
func NewPrefixWriter(out io.Writer, prefix string) io.Writer {
	return &prefixWriter{out: out, prefix: prefix}
}

const longestLine = 64 << 10

type prefixWriter struct {
	out    io.Writer
	prefix string

	mu   sync.Mutex
	rest []byte
}

func (l *prefixWriter) Write(p []byte) (int, error) {
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

// NewSyncWriter returns a writer that is safe for concurrent use.
func NewSyncWriter(out io.Writer) io.Writer { return &syncWriter{out: out} }

type syncWriter struct {
	mu  sync.Mutex
	out io.Writer
}

func (s *syncWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}
