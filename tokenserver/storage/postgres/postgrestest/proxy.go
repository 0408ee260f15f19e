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

	mu                          sync.Mutex
	conns                       map[net.Conn]struct{}
	dropResponses, dropRequests bool
	held                        chan struct{} // if not nil, bytes from the server wait until it is closed
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

func (p *Proxy) forward(from, to net.Conn, isResponse bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !p.isDropped(isResponse) {
			_, _ = to.Write(buf[:n]) // an error closes the connection, which the next Read reports
		}
		if err != nil {
			_, _ = from.Close(), to.Close() // both ends are closed together
			return
		}
	}
}

// isDropped reports whether bytes that have arrived are dropped. Those of a response wait while
// responses are held.
func (p *Proxy) isDropped(isResponse bool) bool {
	p.mu.Lock()
	held, dropped := p.held, p.dropRequests
	if isResponse {
		dropped = p.dropResponses
	}
	p.mu.Unlock()
	if isResponse && held != nil {
		<-held
	}
	return dropped
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
func (p *Proxy) DropResponses() { p.setDropped(true, false) }

// DropRequests drops bytes from the client.
func (p *Proxy) DropRequests() { p.setDropped(false, true) }

// ForwardAll forwards everything again.
func (p *Proxy) ForwardAll() { p.setDropped(false, false) }

func (p *Proxy) setDropped(responses, requests bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropResponses, p.dropRequests = responses, requests
}
