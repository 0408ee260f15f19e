package postgrestest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy forwards, delays or drops what a client and a server send.
type Proxy struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	// transformResponse and transformRequest return what is forwarded of bytes from the server and
	// from the client; nil forwards all.
	transformResponse, transformRequest func([]byte) [][]byte
	held               chan struct{} // if not nil, bytes from the server wait until it is closed
}

// NewProxy starts a proxy in front of the server, and stops it after the test.
func NewProxy(t testing.TB, s *Server) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, server: s.Address(), conns: map[net.Conn]struct{}{}}
	go p.accept()
	t.Cleanup(func() {
		_ = l.Close() // it is closed either way
		p.HoldResponses(false)
		p.CloseConnections()
	})
	return p
}

// Address returns the host and port of the proxy.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.DialTimeout("tcp", p.server, 10*time.Second)
		if err != nil {
			_ = client.Close() // as if the server were down
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		p.mu.Unlock()
		go p.forward(client, server, false)
		go p.forward(server, client, true)
	}
}

func (p *Proxy) forward(from, to net.Conn, answers bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			for _, part := range p.transform(buf[:n], answers) {
				if _, err := to.Write(part); err != nil {
					break
				}
			}
		}
		if err != nil {
			_, _ = from.Close(), to.Close() // both ends are closed together
			return
		}
	}
}

func (p *Proxy) transform(b []byte, answers bool) [][]byte {
	p.mu.Lock()
	wait, how := p.held, p.transformRequest
	if answers {
		how = p.transformResponse
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

// CloseConnections closes all connections.
func (p *Proxy) CloseConnections() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close() // it is closed either way
		delete(p.conns, conn)
	}
}

// HoldResponses makes bytes from the server wait, until it is called with false.
func (p *Proxy) HoldResponses(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.held == nil:
		p.held = make(chan struct{})
	case !on && p.held != nil:
		close(p.held)
		p.held = nil
	}
}

// DropResponses drops bytes from the server.
func (p *Proxy) DropResponses() { p.setTransforms(func([]byte) [][]byte { return nil }, nil) }

// DropRequests drops bytes from the client.
func (p *Proxy) DropRequests() { p.setTransforms(nil, func([]byte) [][]byte { return nil }) }

// ForwardAll forwards everything again.
func (p *Proxy) ForwardAll() { p.setTransforms(nil, nil) }

func (p *Proxy) setTransforms(answers, questions func([]byte) [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.transformResponse, p.transformRequest = answers, questions
}
