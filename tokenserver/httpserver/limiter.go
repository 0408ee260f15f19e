package httpserver

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
)

// socketBuffer is how many bytes the kernel buffers for a connection in each direction. It would
// buffer MiB for a client that sends requests and reads no responses, and they count against the
// memory of the container.
const socketBuffer = 16 << 10

// connectionLimiter bounds the connections that are open at once.
//
// A client can open connections and be slow on each, in sending requests or in reading responses.
// So a connection is waiting, for its client, at all times but while a handler works on its
// request. A handler that waits for another server does not work (Wait). When too many are open, the
// one that has waited longest is closed for the new one; only if none is waiting, the new one is
// closed.
//
// What clients have sent of incomplete requests is in memory: TLS handshakes, headers and bodies.
// When it is too much, the connections on which such requests began first are closed.
type connectionLimiter struct {
	limits Limits
	// closing is true once each response is the last on its connection.
	closing atomic.Bool

	mu   sync.Mutex
	open int
	// waiting has the *connections that wait for their client, longest first.
	waiting *list.List
	// receiving has those of them on which a part of a request was received, longest first.
	receiving *list.List
	// incomplete is how many bytes were received of incomplete requests, on all connections.
	incomplete int
	// closedEarly counts waiting connections that were closed for another, refused those that were
	// closed when they were accepted.
	closedEarly, refused int
}

func newConnectionLimiter(limits Limits) *connectionLimiter {
	return &connectionLimiter{limits: limits, waiting: list.New(), receiving: list.New()}
}

// connection is an accepted connection.
type connection struct {
	net.Conn
	limiter *connectionLimiter
	// waiting and receiving are its elements in the lists of the limiter; nil if it is not in them.
	waiting, receiving *list.Element
	// received is how many bytes were received of the incomplete request.
	received int
	closed   bool
	// cancel ends what the handler waits for; nil if it does not wait.
	cancel context.CancelFunc
}

// limitedListener accepts the connections that its limiter admits.
type limitedListener struct {
	net.Listener
	limiter *connectionLimiter
}

// Accept waits for a connection that is admitted.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.limiter.admit(raw); c != nil {
			return c, nil
		}
		_ = raw.Close() // it was refused
	}
}

// admit adds a connection, and closes a waiting one for it if necessary. It returns nil if the
// connection is refused.
func (l *connectionLimiter) admit(raw net.Conn) *connection {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.limits.Connections {
		longest := l.waiting.Front()
		if longest == nil {
			l.refused++
			return nil
		}
		l.closedEarly++
		l.closeLocked(longest.Value.(*connection))
	}
	if buffered, ok := raw.(interface {
		SetReadBuffer(bytes int) error
		SetWriteBuffer(bytes int) error
	}); ok { // they fail on a closed connection, as the next read does
		_, _ = buffered.SetReadBuffer(socketBuffer), buffered.SetWriteBuffer(socketBuffer)
	}
	c := &connection{Conn: raw, limiter: l}
	c.waiting = l.waiting.PushBack(c)
	l.open++
	return c
}

// closeLocked closes a connection. The caller holds the lock.
func (l *connectionLimiter) closeLocked(c *connection) {
	if c.closed {
		return
	}
	c.closed = true
	l.open--
	l.setWaitingLocked(c, false)
	if c.cancel != nil {
		c.cancel()
	}
	_ = c.Conn.Close() // the next read of the connection fails
}

// setWaitingLocked sets whether the connection waits for its client. If it does not, its request is
// complete. The caller holds the lock.
func (l *connectionLimiter) setWaitingLocked(c *connection, waiting bool) {
	if c.waiting != nil {
		l.waiting.Remove(c.waiting)
		c.waiting = nil
	}
	if waiting && !c.closed {
		c.waiting = l.waiting.PushBack(c)
		l.addReceivedLocked(c, 0) // net/http may have read on while the handler worked
		return
	}
	l.clearReceivedLocked(c)
}

// addReceivedLocked counts bytes of an incomplete request. If that makes too many on all
// connections, it closes those on which such requests began first. The caller holds the lock.
func (l *connectionLimiter) addReceivedLocked(c *connection, bytes int) {
	if c.closed {
		return
	}
	c.received += bytes
	l.incomplete += bytes
	if c.received > 0 && c.waiting != nil && c.receiving == nil {
		c.receiving = l.receiving.PushBack(c)
	}
	for l.incomplete > l.limits.IncompleteBytes && l.receiving.Len() > 0 {
		l.closedEarly++
		l.closeLocked(l.receiving.Front().Value.(*connection))
	}
}

// clearReceivedLocked stops counting what was received so far. The caller holds the lock.
func (l *connectionLimiter) clearReceivedLocked(c *connection) {
	if c.receiving != nil {
		l.receiving.Remove(c.receiving)
		c.receiving = nil
	}
	l.incomplete -= c.received
	c.received = 0
}

// Read counts what it reads as part of an incomplete request.
func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	c.limiter.addReceivedLocked(c, n)
	return n, err
}

// clearClientHello is a tls.Config's GetConfigForClient, which is called once the first message of
// a handshake has been read. That is nearly all that a client sends of it. The configuration stays.
func clearClientHello(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if c, ok := hello.Conn.(*connection); ok {
		c.limiter.mu.Lock()
		defer c.limiter.mu.Unlock()
		c.limiter.clearReceivedLocked(c)
	}
	return nil, nil
}

// setWaiting sets whether the connection waits for its client, and reports whether it is open.
func (c *connection) setWaiting(waiting bool) (isOpen bool) {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	c.limiter.setWaitingLocked(c, waiting)
	return !c.closed
}

// Close closes the connection.
func (c *connection) Close() error {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	c.limiter.closeLocked(c)
	return nil
}

// CloseWrite lets the client read the response before the connection is closed. net/http calls it
// when it has not read all of a request.
func (c *connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type connectionKey struct{}

// connContext is an http.Server's ConnContext: the contexts of requests carry their connection.
func connContext(ctx context.Context, c net.Conn) context.Context {
	if encrypted, ok := c.(*tls.Conn); ok {
		c = encrypted.NetConn()
	}
	return context.WithValue(ctx, connectionKey{}, c)
}
