package controlplane

import (
	"bytes"
	"strings"
	"sync/atomic"
)

// progress reads what `go build -v` prints: the path of each package it compiles, what it
// downloads, and errors. It is written to by one goroutine.
type progress struct {
	downloaded, compiled atomic.Int64
	rest                 []byte
	other                []string
}

func (p *progress) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for {
		line, rest, found := bytes.Cut(p.rest, []byte("\n"))
		if !found {
			return len(b), nil
		}
		p.rest = rest
		switch text := string(line); {
		case strings.HasPrefix(text, "go: downloading "):
			p.downloaded.Add(1)
		case text != "" && !strings.ContainsAny(text, " #:\t"):
			p.compiled.Add(1)
		default:
			p.other = append(p.other, text)
		}
	}
}

// failure is what the build said beside its progress.
func (p *progress) failure() string { return strings.Join(p.other, "\n") }
