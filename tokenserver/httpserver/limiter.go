package httpserver

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
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
// When it is too much, the connections on which such requests began first are closed. A client may send
// the next request before the answer to the last one: that counts once net/http reads it, and not while
// a handler works, when the connection cannot be closed for it.
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
	// received is how many bytes were received of the incomplete request; while it does not count, with
	// what was received of the complete one before.
	received int
	counts   bool
	// awaiting is where net/http is between two requests.
	awaiting awaiting
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
	c := &connection{Conn: raw, limiter: l, counts: true}
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
	l.stopCountingLocked(c)
	if c.cancel != nil {
		c.cancel()
	}
	_ = c.Conn.Close() // the next read of the connection fails
}

// setWaitingLocked sets whether the connection waits. The caller holds the lock.
func (l *connectionLimiter) setWaitingLocked(c *connection, waiting bool) {
	if c.waiting != nil {
		l.waiting.Remove(c.waiting)
		c.waiting = nil
	}
	if waiting && !c.closed {
		c.waiting = l.waiting.PushBack(c)
	}
}

// addReceivedLocked counts bytes of an incomplete request. If that makes too many on all
// connections, it closes those on which such requests began first. The caller holds the lock.
func (l *connectionLimiter) addReceivedLocked(c *connection, bytes int) {
	c.received += bytes
	if !c.counts {
		return
	}
	l.incomplete += bytes
	if c.received > 0 && c.receiving == nil {
		c.receiving = l.receiving.PushBack(c)
	}
	for l.incomplete > l.limits.IncompleteBytes && l.receiving.Len() > 0 {
		l.closedEarly++
		l.closeLocked(l.receiving.Front().Value.(*connection))
	}
}

// stopCountingLocked stops counting what was and is received. The caller holds the lock.
func (l *connectionLimiter) stopCountingLocked(c *connection) {
	if c.receiving != nil {
		l.receiving.Remove(c.receiving)
		c.receiving = nil
	}
	if c.counts {
		l.incomplete -= c.received
	}
	c.counts = false
}

// startCountingLocked counts so many bytes, and what is received from now on. The caller holds the lock.
func (l *connectionLimiter) startCountingLocked(c *connection, received int) {
	l.stopCountingLocked(c)
	c.received, c.counts = 0, !c.closed
	l.addReceivedLocked(c, received)
}

// awaiting says where net/http is between two requests on a connection. Once it has written an answer,
// it makes the connection idle, sets the time until which the next request must begin, waits for its
// first bytes, and sets the time until which its header must end. If it has not read in the meantime,
// it had those bytes: they came with the request before.
type awaiting int

const (
	awaitingNothing    awaiting = iota
	awaitingIdleTime            // the connection is idle
	awaitingFirstBytes          // and the time is set
)

// maxAhead is how many bytes net/http and TLS may hold of the next requests when one is complete: a
// buffer, and a record of TLS (RFC 8446 section 5.2).
const maxAhead = 4<<10 + 16<<10 + 512

// connState is an http.Server's ConnState.
func connState(conn net.Conn, state http.ConnState) {
	if c, ok := accepted(conn).(*connection); ok && state == http.StateIdle {
		c.limiter.mu.Lock()
		defer c.limiter.mu.Unlock()
		c.awaiting = awaitingIdleTime
	}
}

// SetReadDeadline counts what net/http has of the next request already.
func (c *connection) SetReadDeadline(t time.Time) error {
	c.limiter.mu.Lock()
	switch c.awaiting {
	case awaitingNothing:
	case awaitingIdleTime:
		c.awaiting = awaitingFirstBytes
	case awaitingFirstBytes:
		c.awaiting = awaitingNothing
		c.limiter.startCountingLocked(c, min(c.received, maxAhead))
	}
	c.limiter.mu.Unlock()
	return c.Conn.SetReadDeadline(t)
}

// Read counts what it reads as part of an incomplete request.
func (c *connection) Read(p []byte) (int, error) {
	c.limiter.mu.Lock()
	if c.awaiting == awaitingFirstBytes { // nothing is left of the request before
		c.awaiting = awaitingNothing
		c.limiter.startCountingLocked(c, 0)
	}
	c.limiter.mu.Unlock()
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
		c.limiter.startCountingLocked(c, 0)
	}
	return nil, nil
}

// beginWork ends waiting for a request, which is complete, and reports whether the connection is open.
func (c *connection) beginWork() (isOpen bool) {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	c.limiter.setWaitingLocked(c, false)
	c.limiter.stopCountingLocked(c)
	return !c.closed
}

// endWork makes the connection wait for its client.
func (c *connection) endWork() {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	c.limiter.setWaitingLocked(c, true)
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
	return context.WithValue(ctx, connectionKey{}, accepted(c))
}

// accepted returns the connection that was accepted for one that an http.Server has.
func accepted(c net.Conn) net.Conn {
	if encrypted, ok := c.(*tls.Conn); ok {
		return encrypted.NetConn()
	}
	return c
}
