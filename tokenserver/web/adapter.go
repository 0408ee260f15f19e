// Package web adapts the handlers of the endpoints, which return errors, to net/http. It decides
// once what becomes of an error: JSON at the endpoints for programs (Adapter.ForAPI), a page at
// those for browsers (Adapter.ForBrowser).
//
//	adapter.go   Adapter: request ids, allowed methods, panics, default headers
//	response.go  ways to respond: JSON, Bytes, Page, Redirect
//	errors.go    from an error to a response; PageError
//	retry.go     when a client comes again that was refused for now
//	event.go     the one log event of each request, and the fields that it may have
//	trace.go     the span of each request
//	metrics.go   metrics of the requests, with label values from fixed sets
//	source.go    the address that a request comes from
//	cookies.go   names and attributes of the cookies
//	cors.go      endpoints that scripts of any origin may call
//
// Nothing that a client or a user sends gets into the log or a label, with two exceptions: the id
// of a registered client; and in the log, where a password was wrong, the address that it came
// from.
package web

import (
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// Handler answers a request, or writes nothing and returns an error. The client is told what an
// *oauth.Error, a *PageError or an error of packages grant, registry and storage says; of any other
// error it learns only that the server failed, and the log says more.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Adapter makes http.Handlers of Handlers. All fields but Issuer and Tracing are required.
type Adapter struct {
	Log     *slog.Logger
	Metrics *Metrics
	Now     func() time.Time
	// Random is the source of request ids.
	Random io.Reader
	// Issuer returns the issuer identifier that error pages name. If it is nil or returns "", they
	// name none.
	Issuer func() string
	// Tracing may be nil.
	Tracing *Tracing
}

// ForAPI returns the http.Handler of an endpoint for programs. Its errors are JSON (RFC 6749
// section 5.2). The name is that of the endpoint in log and metrics. Without methods, all are
// allowed; GET includes HEAD.
func (a *Adapter) ForAPI(name string, h Handler, methods ...string) http.Handler {
	return a.adapt(name, h, writeJSONError, methods)
}

// ForBrowser returns the http.Handler of an endpoint for browsers. Its errors are pages. Name and
// methods are as for ForAPI.
func (a *Adapter) ForBrowser(name string, h Handler, methods ...string) http.Handler {
	return a.adapt(name, h, a.writePageError, methods)
}

// errorWriter answers with an error, and returns what it told the client.
type errorWriter func(http.ResponseWriter, error) *oauth.Error

func (a *Adapter) adapt(name string, h Handler, writeError errorWriter, methods []string) http.Handler {
	counters := a.Metrics.endpoint(name)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		event := &event{start: a.Now()}
		response := &recorder{ResponseWriter: w}
		id, err := a.requestID()
		if err != nil {
			a.Log.LogAttrs(r.Context(), slog.LevelError, "cannot make a request id", slog.String("endpoint", name))
			event.code = writeError(response, errInternal).Code
			a.finish(r, name, event, response, counters)
			return
		}
		event.id = id
		if a.Tracing != nil {
			r, event.span = a.Tracing.startSpan(r, name)
		}
		event.Context = r.Context()
		r = r.WithContext(event)
		setDefaultHeaders(response.Header(), id)
		defer a.finish(r, name, event, response, counters)
		defer a.handlePanic(r, name, event, response, writeError)
		if !isAllowed(r.Method, methods) {
			event.setError(writeError(response, methodNotAllowed(methods)))
			return
		}
		if err := h(response, r); err != nil {
			if response.status != 0 {
				// Part of a response is sent: closing the connection is the only way to report the
				// error.
				event.cause = protocolError(err).Cause
				panic(http.ErrAbortHandler)
			}
			event.setError(writeError(response, err))
		}
	})
}

// handlePanic answers a panic with a 500 without detail. The log gets the stack, and the panic's
// text only if the runtime wrote it: any other could quote the request.
func (a *Adapter) handlePanic(r *http.Request, name string, event *event, response *recorder, writeError errorWriter) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // a sentinel that net/http compares the same way
		event.code = oauth.ServerError
		panic(p)
	}
	text := fmt.Sprintf("%T", p)
	if fault, ok := p.(runtime.Error); ok {
		text = fault.Error()
	}
	a.Log.LogAttrs(r.Context(), slog.LevelError, "handler panicked", slog.String("request", event.id),
		slog.String("endpoint", name), slog.String("panic", text), slog.String("stack", string(debug.Stack())))
	if response.status != 0 {
		event.code = oauth.ServerError
		panic(http.ErrAbortHandler)
	}
	event.code = writeError(response, errInternal).Code
}

func (a *Adapter) requestID() (string, error) {
	var id [12]byte
	if _, err := io.ReadFull(a.Random, id[:]); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	return hex.EncodeToString(id[:]), nil
}

// setDefaultHeaders sets the headers of nearly all responses. An endpoint whose responses are
// public replaces Cache-Control.
func setDefaultHeaders(h http.Header, id string) {
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
	h["Referrer-Policy"] = noReferrer
	h["Request-Id"] = []string{id}
}

// Values of headers that nearly all responses have. The responses share them, so they must not be
// changed in place.
var (
	noStore    = []string{"no-store"}
	noSniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
	noCache    = []string{"no-cache"}
)

// isAllowed reports whether methods allow the method of a request.
func isAllowed(method string, methods []string) bool {
	return len(methods) == 0 || slices.Contains(methods, method) ||
		method == http.MethodHead && slices.Contains(methods, http.MethodGet)
}

// recorder records the status of a response.
type recorder struct {
	http.ResponseWriter
	status int // 0 until the header is written
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets an http.ResponseController find the writer.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
