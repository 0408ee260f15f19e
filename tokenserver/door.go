package tokenserver

import (
	"bytes"
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

const (
	// maxConnections is how many connections are open at once. HTTP/2 is not served, so that it also bounds the requests under way.
	maxConnections = 2048
	// smallBody is the size up to which bodies are read without further ado, in bytes: a form with a code, a verifier and a secret has a tenth.
	smallBody = 8 << 10
	// maxLarge is how many bodies beyond that size are read at once.
	maxLarge = 128
	// socketBuffer is how many bytes the kernel keeps for a connection in each direction. It would
	// keep MiB for a client that sends requests and reads no answers, and they count against the
	// memory of the container.
	socketBuffer = 16 << 10
)

// door lets connections and requests in, and answers out. A stranger can open connections and be
// slow on each, in sending requests or in reading answers; so a connection counts only while an
// endpoint works on its request. When there are too many, the one that has waited longest for its
// client is closed for the new one, and only if there is work for all of them, the new one is. The
// endpoints see a request when all of it is there, and their answer leaves when all of it is.
type door struct {
	limit, largeLimit int

	mu   sync.Mutex
	open int
	// waiting connections, the longest first: new, idle, in the middle of sending, or reading their
	// answer.
	waiting *list.List
	// large bodies that are being sent, by their connections, the longest first.
	large *list.List
	// closed early, to make room; refused, because there was none.
	closed, refused int
}

func newDoor(limit int) *door {
	return &door{limit: limit, largeLimit: maxLarge, waiting: list.New(), large: list.New()}
}

// connection that was let in.
type connection struct {
	net.Conn
	door *door
	// place among the waiting; nil while an endpoint works on its request. Large is its place among
	// those that send a large body.
	place, large *list.Element
	gone         bool
}

// listener is ln behind the door.
func (d *door) listener(ln net.Listener) net.Listener { return &doorway{ln, d} }

type doorway struct {
	net.Listener
	door *door
}

// Accept waits for a connection that may come in.
func (w *doorway) Accept() (net.Conn, error) {
	for {
		raw, err := w.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := w.door.enter(raw); c != nil {
			return c, nil
		}
		_ = raw.Close() // there is nobody to tell
	}
}

// enter makes room for a connection, if it can.
func (d *door) enter(raw net.Conn) *connection {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open >= d.limit {
		longest := d.waiting.Front()
		if longest == nil {
			d.refused++
			return nil
		}
		d.closed++
		d.leave(longest.Value.(*connection))
	}
	if buffered, ok := raw.(interface {
		SetReadBuffer(bytes int) error
		SetWriteBuffer(bytes int) error
	}); ok { // an error is of a connection that has gone: who reads from it learns of it
		_, _ = buffered.SetReadBuffer(socketBuffer), buffered.SetWriteBuffer(socketBuffer)
	}
	c := &connection{Conn: raw, door: d}
	c.place = d.waiting.PushBack(c)
	d.open++
	return c
}

// leave closes a connection. The caller has the lock.
func (d *door) leave(c *connection) {
	if c.gone {
		return
	}
	c.gone = true
	d.open--
	d.wait(c, false)
	d.sendsLarge(c, false)
	_ = c.Conn.Close() // whoever reads from it learns of it
}

// wait says whether the connection waits. The caller has the lock.
func (d *door) wait(c *connection, waits bool) {
	if c.place != nil {
		d.waiting.Remove(c.place)
		c.place = nil
	}
	if waits && !c.gone {
		c.place = d.waiting.PushBack(c)
	}
}

// sendsLarge says whether the connection is sending a large body. When too many are, the one that
// began first is closed. The caller has the lock.
func (d *door) sendsLarge(c *connection, sends bool) {
	if c.large != nil {
		d.large.Remove(c.large)
		c.large = nil
	}
	if !sends || c.gone {
		return
	}
	c.large = d.large.PushBack(c)
	if d.large.Len() > d.largeLimit {
		d.closed++
		d.leave(d.large.Front().Value.(*connection))
	}
}

// Close the connection.
func (c *connection) Close() error {
	c.door.mu.Lock()
	defer c.door.mu.Unlock()
	c.door.leave(c)
	return nil
}

// waits notes whether the connection waits. False: it is closed.
func (c *connection) waits(waits bool) bool {
	c.door.mu.Lock()
	defer c.door.mu.Unlock()
	c.door.wait(c, waits)
	return !c.gone
}

// sendsLarge notes whether it is sending a large body.
func (c *connection) sendsLarge(sends bool) {
	c.door.mu.Lock()
	defer c.door.mu.Unlock()
	c.door.sendsLarge(c, sends)
}

// CloseWrite lets the other side read the answer before the connection is closed; net/http asks for it where it has not read all of a request.
func (c *connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type connectionKey struct{}

// context of the requests of a connection.
func (d *door) context(ctx context.Context, c net.Conn) context.Context {
	if encrypted, ok := c.(*tls.Conn); ok {
		c = encrypted.NetConn()
	}
	return context.WithValue(ctx, connectionKey{}, c)
}

// handler is next, for requests that are there with all of their body. A body that is too large, or
// fails, is left for next to find out. What next answers is kept until it is done, and written
// while the connection waits.
func (d *door) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := r.Context().Value(connectionKey{}).(*connection)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		c.readBody(r)
		kept := &answer{header: w.Header()}
		if !c.serve(next, kept, r) {
			return // it was closed meanwhile: nobody is there to be answered
		}
		kept.send(w)
	})
}

// serve a request of the connection. False: it is closed.
func (c *connection) serve(next http.Handler, w http.ResponseWriter, r *http.Request) bool {
	if !c.waits(false) {
		return false
	}
	defer c.waits(true)
	next.ServeHTTP(w, r)
	r.Body = http.NoBody // 64 KiB that need not stay until the answer has been read
	return true
}

// answer that an endpoint has given, before any of it is sent.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

// WriteHeader keeps the first status.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// send the answer.
func (a *answer) send(w http.ResponseWriter) {
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = a.body.WriteTo(w) // the client has gone: there is nobody left to tell
}

// readBody reads the body, unless that says itself that it is too large.
func (c *connection) readBody(r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength > oauth.MaxForm {
		return
	}
	content, err := io.ReadAll(io.LimitReader(r.Body, smallBody))
	if err == nil && len(content) == smallBody {
		c.sendsLarge(true)
		defer c.sendsLarge(false)
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(r.Body, oauth.MaxForm+1-smallBody))
		content = append(content, rest...)
	}
	r.Body = &body{rest: bytes.NewReader(content), err: err, Closer: r.Body}
}

// body that has been read, and how that ended.
type body struct {
	rest *bytes.Reader
	err  error
	io.Closer
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.rest.Read(p)
	if errors.Is(err, io.EOF) && b.err != nil {
		err = b.err
	}
	return n, err
}

// metrics of the door.
func (d *door) metrics() []prometheus.Collector {
	const namespace, subsystem = "oauth_operator", "tokenserver"
	read := func(number func() float64) func() float64 {
		return func() float64 {
			d.mu.Lock()
			defer d.mu.Unlock()
			return number()
		}
	}
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "connections", Help: "Connections that are open.",
		}, read(func() float64 { return float64(d.open) })),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "connections_closed_early_total",
			Help: "Connections that waited for their client and were closed because another one needed the place.",
		}, read(func() float64 { return float64(d.closed) })),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "connections_refused_total",
			Help: "Connections that were closed at once because as many requests as may be were under way.",
		}, read(func() float64 { return float64(d.refused) })),
	}
}
