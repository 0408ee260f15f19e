// Package web is the edge between HTTP and the endpoint rooms. A room's Handler answers or returns an error; what becomes of the error is
// decided here, once for each surface: JSON for endpoints that programs talk to (Edge.ForAPI), a page for those that people look at
// (Edge.ForBrowser).
//
//	edge.go     the two surfaces: request id, allowed methods, panics, the default headers
//	answer.go   the ways to answer: JSON, Bytes, Page, Redirect
//	failure.go  from an error to an answer; PageError
//	event.go    the one log event that each request causes, and the fields it may have
//	metrics.go  the counters, with label values from fixed sets
//	source.go   where a request comes from
//	cookies.go  names and attributes of our cookies
//	cors.go     which endpoints scripts of any origin may call
//
// Nothing that a client or a user sends reaches the log or a label, except the id of a client that is registered; and the log, where a
// password was wrong, the address that it came from.
package web

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// Handler answers the request, or writes nothing and returns why it cannot: an *oauth.Error or a *PageError for what the other side is to
// know, anything else for what only the operator is to know.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Edge wraps Handlers. All fields but Issuer are needed.
type Edge struct {
	Log     *slog.Logger
	Metrics *Metrics
	Now     func() time.Time
	// Random is where request ids come from.
	Random io.Reader
	// Issuer that error pages say they are of. Nil, or the empty string while it is not known: they do not say.
	Issuer func() string
}

// ForAPI is the surface of an endpoint that programs talk to. Errors are JSON (RFC 6749 section 5.2). The name is the endpoint's in log and
// metrics. Methods, if any, are the only ones allowed; HEAD comes with GET.
func (e *Edge) ForAPI(name string, h Handler, methods ...string) http.Handler {
	return e.surface(name, h, writeJSONError, methods)
}

// ForBrowser is the surface of an endpoint that people look at. Errors are pages.
func (e *Edge) ForBrowser(name string, h Handler, methods ...string) http.Handler {
	return e.surface(name, h, e.writePageError, methods)
}

func (e *Edge) surface(name string, h Handler, writeError func(http.ResponseWriter, error) string, methods []string) http.Handler {
	counters := e.Metrics.endpoint(name)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		event := &event{began: e.Now()}
		answer := &recorder{ResponseWriter: w}
		id, err := e.requestID()
		if err != nil {
			e.Log.LogAttrs(r.Context(), slog.LevelError, "no randomness for a request id", slog.String("endpoint", name))
			event.failed(writeError(answer, errInternal))
			e.finish(r, name, event, answer, counters)
			return
		}
		event.id = id
		r = r.WithContext(context.WithValue(r.Context(), eventKey{}, event))
		defaultHeaders(answer.Header(), id)
		defer e.finish(r, name, event, answer, counters)
		defer e.recovered(r, name, event, answer, writeError)
		if !allowed(r.Method, methods) {
			answer.Header().Set("Allow", strings.Join(methods, ", "))
			event.failed(writeError(answer, methodNotAllowed(methods)))
			return
		}
		if err := h(answer, r); err != nil {
			event.cause = causeOf(err)
			if answer.status != 0 {
				// The answer is on its way: cutting it off is the only way left to say that it is not what was meant.
				panic(http.ErrAbortHandler)
			}
			event.failed(writeError(answer, err))
		}
	})
}

// recovered turns a panic into a 500 without detail. The log gets the stack, and the panic's text only if the runtime wrote it: any other
// could quote the request.
func (e *Edge) recovered(r *http.Request, name string, event *event, answer *recorder, writeError func(http.ResponseWriter, error) string) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // a sentinel that net/http compares the same way
		event.failed(oauth.ServerError)
		panic(p)
	}
	what := fmt.Sprintf("%T", p)
	if fault, ok := p.(runtime.Error); ok {
		what = fault.Error()
	}
	e.Log.LogAttrs(r.Context(), slog.LevelError, "handler panicked", slog.String("request", event.id),
		slog.String("endpoint", name), slog.String("panic", what), slog.String("stack", string(debug.Stack())))
	if answer.status != 0 {
		event.failed(oauth.ServerError)
		panic(http.ErrAbortHandler)
	}
	event.failed(writeError(answer, errInternal))
}

func (e *Edge) requestID() (string, error) {
	var id [12]byte
	if _, err := io.ReadFull(e.Random, id[:]); err != nil {
		return "", fmt.Errorf("drawing a request id: %w", err)
	}
	return hex.EncodeToString(id[:]), nil
}

// defaultHeaders are right for nearly every answer; a room that answers something public replaces Cache-Control.
func defaultHeaders(h http.Header, id string) {
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
	h["Referrer-Policy"] = noReferrer
	h["Request-Id"] = []string{id}
}

// Values of headers that nearly every answer has. They are shared: whoever wants another value sets the header anew.
var (
	noStore    = []string{"no-store"}
	noSniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
	noCache    = []string{"no-cache"}
)

func allowed(method string, methods []string) bool {
	return len(methods) == 0 || slices.Contains(methods, method) ||
		method == http.MethodHead && slices.Contains(methods, http.MethodGet)
}

// recorder remembers the status of the answer.
type recorder struct {
	http.ResponseWriter
	status int // 0 until the header is written
}

func (a *recorder) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *recorder) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (a *recorder) Unwrap() http.ResponseWriter { return a.ResponseWriter }
