package httpserver

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// wrap returns a handler that calls next once it has read the whole request, and writes what next
// responds once next has returned. In the meantime, and only then, the connection does not wait,
// unless next does: next reads nothing from the connection. A body that is too large, or cannot be
// read, fails when next reads it.
func (l *connectionLimiter) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := r.Context().Value(connectionKey{}).(*connection)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		r.Body = readBody(r)
		response := &bufferedResponse{header: w.Header()}
		if c.serve(next, response, r) {
			if l.closing.Load() {
				w.Header().Set("Connection", "close")
			}
			response.writeTo(w)
		}
	})
}

// serve calls next while the connection does not wait. It reports false if the connection was
// closed before.
func (c *connection) serve(next http.Handler, w http.ResponseWriter, r *http.Request) bool {
	if !c.beginWork() {
		return false
	}
	defer c.endWork()
	next.ServeHTTP(w, r)
	r.Header, r.Body = nil, http.NoBody // frees their memory while the client reads the response
	return true
}

// readBody reads the body into memory, unless its length says that it is too large. It returns what
// the handler reads, which never reads from the connection.
func readBody(r *http.Request) io.ReadCloser {
	if r.Body == nil || r.Body == http.NoBody {
		return http.NoBody
	}
	body := &bufferedBody{}
	if r.ContentLength > oauth.MaxFormSize {
		body.err = &http.MaxBytesError{Limit: oauth.MaxFormSize}
		return body
	}
	_, body.err = body.content.ReadFrom(io.LimitReader(r.Body, oauth.MaxFormSize+1))
	return body
}

// bufferedBody is a request body in memory, followed by the error that ended reading it.
type bufferedBody struct {
	content bytes.Buffer
	err     error
}

func (b *bufferedBody) Close() error { return nil }

func (b *bufferedBody) Read(p []byte) (int, error) {
	n, err := b.content.Read(p)
	if errors.Is(err, io.EOF) && b.err != nil {
		err = b.err
	}
	return n, err
}

// bufferedResponse is a response in memory: a client that reads slowly must not keep a handler
// busy.
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

// addsLength is the size of the largest body, in bytes, to which net/http adds Content-Length by
// itself. It costs less there than in the map of the other headers.
const addsLength = 2 << 10

func (b *bufferedResponse) writeTo(w http.ResponseWriter) {
	if b.body.Len() > addsLength {
		b.header["Content-Length"] = []string{strconv.Itoa(b.body.Len())}
	}
	if b.status != 0 {
		w.WriteHeader(b.status)
	}
	_, _ = b.body.WriteTo(w) // it fails if the client has closed the connection
}
