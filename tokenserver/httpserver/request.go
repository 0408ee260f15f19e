package httpserver

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// smallBody is the size up to which request bodies are read without a limit on their number, in
// bytes. A form with a code, a verifier and a secret has a tenth of it.
const smallBody = 8 << 10

// wrap returns a handler that calls next once it has read the whole request, and writes what next
// responds once next has returned. In the meantime, and only then, the connection does not wait for
// its client. A body that is too large, or cannot be read, fails when next reads it.
func (l *connectionLimiter) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := r.Context().Value(connectionKey{}).(*connection)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		c.readBody(r)
		response := &bufferedResponse{header: w.Header()}
		if c.serve(next, response, r) {
			response.writeTo(w)
		}
	})
}

// serve calls next while the connection does not wait. It reports false if the connection was
// closed before.
func (c *connection) serve(next http.Handler, w http.ResponseWriter, r *http.Request) bool {
	if !c.setWaiting(false) {
		return false
	}
	defer c.setWaiting(true)
	next.ServeHTTP(w, r)
	r.Body = http.NoBody // frees up to 64 KiB while the client reads the response
	return true
}

// readBody reads the body into memory, unless its length says that it is too large.
func (c *connection) readBody(r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength > oauth.MaxFormSize {
		return
	}
	body := &bufferedBody{Closer: r.Body}
	_, body.err = body.content.ReadFrom(io.LimitReader(r.Body, smallBody))
	if body.err == nil && body.content.Len() == smallBody {
		c.setLargeBody(true)
		defer c.setLargeBody(false)
		_, body.err = body.content.ReadFrom(io.LimitReader(r.Body, oauth.MaxFormSize+1-smallBody))
	}
	r.Body = body
}

// bufferedBody is a request body in memory, followed by the error that ended reading it.
type bufferedBody struct {
	content bytes.Buffer
	err     error
	io.Closer
}

func (b *bufferedBody) Read(p []byte) (int, error) {
	n, err := b.content.Read(p)
	if errors.Is(err, io.EOF) && b.err != nil {
		err = b.err
	}
	return n, err
}

// bufferedResponse is a response in memory: a client that reads slowly must not keep a handler busy.
type bufferedResponse struct {
	header http.Header
	status int // 0: not set
	body   bytes.Buffer
}

func (b *bufferedResponse) Header() http.Header { return b.header }

// WriteHeader keeps the first status.
func (b *bufferedResponse) WriteHeader(status int) {
	if b.status == 0 {
		b.status = status
	}
}

func (b *bufferedResponse) Write(p []byte) (int, error) {
	b.WriteHeader(http.StatusOK)
	return b.body.Write(p)
}

func (b *bufferedResponse) writeTo(w http.ResponseWriter) {
	if b.status != 0 {
		w.WriteHeader(b.status)
	}
	_, _ = b.body.WriteTo(w) // it fails if the client has closed the connection
}
