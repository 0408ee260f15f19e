package httpserver

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"sync"
)

// socketBuffer is how many bytes the kernel buffers for a connection in each direction. It would
// buffer MiB for a client that sends requests and reads no responses, and they count against the
// memory of the container.
const socketBuffer = 16 << 10

// connectionLimiter bounds the connections that are open at once.
//
// A client can open connections and be slow on each, in sending requests or in reading responses.
// So a connection is waiting, for its client, at all times but while a handler works on its
// request. When too many are open, the one that has waited longest is closed for the new one; only
// if none is waiting, the new one is closed.
type connectionLimiter struct {
	limits Limits

	mu   sync.Mutex
	open int
	// waiting has the *connections that wait for their client, longest first.
	waiting *list.List
	// largeBodies has the *connections on which a large body is being read, longest first.
	largeBodies *list.List
	// closedEarly counts waiting connections that were closed for another, refused those that were
	// closed when they were accepted.
	closedEarly, refused int
}

func newConnectionLimiter(limits Limits) *connectionLimiter {
	return &connectionLimiter{limits: limits, waiting: list.New(), largeBodies: list.New()}
}

// connection is an accepted connection.
type connection struct {
	net.Conn
	limiter *connectionLimiter
	// waiting and largeBody are its elements in the lists of the limiter; nil if it is not in them.
	waiting, largeBody *list.Element
	closed             bool
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
	l.setLargeBodyLocked(c, false)
	_ = c.Conn.Close() // the next read of the connection fails
}

// setWaitingLocked sets whether the connection waits for its client. The caller holds the lock.
func (l *connectionLimiter) setWaitingLocked(c *connection, waiting bool) {
	if c.waiting != nil {
		l.waiting.Remove(c.waiting)
		c.waiting = nil
	}
	if waiting && !c.closed {
		c.waiting = l.waiting.PushBack(c)
	}
}

// setLargeBodyLocked sets whether a large body is being read from the connection. If that makes too
// many, it closes the connection that began first. The caller holds the lock.
func (l *connectionLimiter) setLargeBodyLocked(c *connection, reading bool) {
	if c.largeBody != nil {
		l.largeBodies.Remove(c.largeBody)
		c.largeBody = nil
	}
	if !reading || c.closed {
		return
	}
	c.largeBody = l.largeBodies.PushBack(c)
	if l.largeBodies.Len() > l.limits.LargeBodies {
		l.closedEarly++
		l.closeLocked(l.largeBodies.Front().Value.(*connection))
	}
}

// setWaiting sets whether the connection waits for its client, and reports whether it is open.
func (c *connection) setWaiting(waiting bool) (isOpen bool) {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	c.limiter.setWaitingLocked(c, waiting)
	return !c.closed
}

// setLargeBody sets whether a large body is being read from the connection.
func (c *connection) setLargeBody(reading bool) {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	c.limiter.setLargeBodyLocked(c, reading)
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
