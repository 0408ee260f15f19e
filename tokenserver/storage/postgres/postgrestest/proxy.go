package postgrestest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy passes on what a client and a server say to one another, or not.
type Proxy struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	// What happens to what comes from the server and from the client.
	answers, questions func([]byte) [][]byte
	wait               chan struct{} // not nil: what the server says is held back until it is closed
}

// NewProxy starts a proxy in front of the server, for as long as the test runs.
func NewProxy(t testing.TB, s *Server) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, server: s.Address(), conns: map[net.Conn]struct{}{}}
	go p.accept()
	t.Cleanup(func() {
		_ = l.Close() // it is gone either way
		p.Hold(false)
		p.Cut()
	})
	return p
}

// Address of the proxy: host and port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.DialTimeout("tcp", p.server, 10*time.Second)
		if err != nil {
			_ = client.Close() // as a server that is away does
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		p.mu.Unlock()
		go p.pass(client, server, false)
		go p.pass(server, client, true)
	}
}

func (p *Proxy) pass(from, to net.Conn, answers bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			for _, part := range p.change(buf[:n], answers) {
				if _, err := to.Write(part); err != nil {
					break
				}
			}
		}
		if err != nil {
			_, _ = from.Close(), to.Close() // both ends go together
			return
		}
	}
}

func (p *Proxy) change(b []byte, answers bool) [][]byte {
	p.mu.Lock()
	wait, how := p.wait, p.questions
	if answers {
		how = p.answers
	}
	p.mu.Unlock()
	if answers && wait != nil {
		b = append([]byte(nil), b...)
		<-wait
	}
	if how == nil {
		return [][]byte{b}
	}
	return how(b)
}

// Cut ends all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close() // it is gone either way
		delete(p.conns, conn)
	}
}

// Hold keeps back what the server says until it is told otherwise.
func (p *Proxy) Hold(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.wait == nil:
		p.wait = make(chan struct{})
	case !on && p.wait != nil:
		close(p.wait)
		p.wait = nil
	}
}

// DropAnswers swallows what the server says.
func (p *Proxy) DropAnswers() { p.set(func([]byte) [][]byte { return nil }, nil) }

// DropQuestions swallows what the client says.
func (p *Proxy) DropQuestions() { p.set(nil, func([]byte) [][]byte { return nil }) }

// Pass goes back to passing everything on.
func (p *Proxy) Pass() { p.set(nil, nil) }

func (p *Proxy) set(answers, questions func([]byte) [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers, p.questions = answers, questions
}
