package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// event is what is logged about a request, and the context of the request, so that its handler can
// add to it. No field has text of the request: the client id is that of a registered client, the
// source is an address, the others come from fixed sets.
type event struct {
	context.Context
	id        string
	start     time.Time
	clientID  string
	grantType string
	code      string // of the error; empty: the request succeeded
	source    netip.Prefix
	// cause is why the request failed, if the client was not told. It is logged in an event of its
	// own.
	cause error
	// span of the request; nil without Tracing.
	span trace.Span
}

type eventKey struct{}

// Value returns the event itself for the key of events.
func (e *event) Value(key any) any {
	if key == (eventKey{}) {
		return e
	}
	return e.Context.Value(key)
}

// NoteClient records the client of the request. The id must be that of a registered client.
func NoteClient(ctx context.Context, id string) {
	if e := eventOf(ctx); e != nil {
		e.clientID = id
	}
}

// NoteGrantType records the grant type of the request, unless it is unknown.
func NoteGrantType(ctx context.Context, grantType string) {
	if e := eventOf(ctx); e != nil && slices.Contains(grantTypes, grantType) {
		e.grantType = grantType
	}
}

// NoteError records the error code of a response that a handler writes itself, such as a redirect
// to the client or a form that is shown again.
func NoteError(ctx context.Context, code string) {
	if e := eventOf(ctx); e != nil {
		e.code = knownCode(code)
	}
}

// NoteFailure is NoteError for a handler that redirects to the client with an error. It returns
// what the client may know about err.
func NoteFailure(ctx context.Context, err error) *oauth.Error {
	known := protocolError(err)
	if e := eventOf(ctx); e != nil {
		e.setError(known)
	}
	return known
}

func eventOf(ctx context.Context) *event {
	e, _ := ctx.Value(eventKey{}).(*event)
	return e
}

// setError records what a client was told and the cause that it was not told.
func (e *event) setError(err *oauth.Error) {
	e.code, e.cause = knownCode(err.Code), err.Cause
}

// knownCode returns the code, or "other" if log and metrics do not know it.
func knownCode(code string) string {
	if slices.Contains(errorCodes, code) {
		return code
	}
	return "other"
}

// finish logs and counts a request.
func (a *Adapter) finish(r *http.Request, name string, event *event, response *recorder, counters *endpointMetrics) {
	now := a.Now()
	duration := now.Sub(event.start)
	status := response.status
	if status == 0 {
		status = http.StatusOK
	}
	method := knownMethod(r.Method)
	counters.observe(method, status, event.grantType, event.code, duration)
	if event.span != nil {
		endSpan(event.span, event, status)
	}
	// A client that closes its connection makes calls to the store fail. That is not the server's
	// failure.
	disconnected := errors.Is(r.Context().Err(), context.Canceled) && event.cause != nil && isTemporary(event.cause)
	if event.cause != nil && !disconnected {
		a.Log.LogAttrs(r.Context(), slog.LevelError, "request failed",
			slog.String("request", event.id), slog.String("endpoint", name), slog.String("cause", event.cause.Error()))
	}
	level := slog.LevelInfo
	if status >= http.StatusInternalServerError && !disconnected {
		level = slog.LevelWarn
	}
	if !a.Log.Enabled(r.Context(), level) {
		return
	}
	fields := make([]slog.Attr, 0, 10)
	fields = append(fields, slog.String("request", event.id), slog.String("endpoint", name), slog.String("method", method),
		slog.Int("status", status), slog.Duration("duration", duration))
	for _, f := range []struct{ key, value string }{
		{"client", event.clientID}, {"grant_type", event.grantType}, {"error", event.code}, {"trace_id", event.traceID()},
	} {
		if f.value != "" {
			fields = append(fields, slog.String(f.key, f.value))
		}
	}
	if event.source.IsValid() {
		fields = append(fields, slog.String("source", event.source.String()))
	}
	record := slog.NewRecord(now, level, "request", 0) // a slog.Logger would look for the line of code that logs
	record.AddAttrs(fields...)
	_ = a.Log.Handler().Handle(r.Context(), record) // a slog.Logger drops the error too
}

// knownMethod returns the method, or OTHER if it is not a common one: a client may send any token.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "OTHER"
}

// grantTypes are the grant types that log and metrics know.
var grantTypes = []string{
	oauth.GrantAuthorizationCode, oauth.GrantImplicit, oauth.GrantPassword, oauth.GrantClientCredentials, oauth.GrantRefreshToken,
}

// errorCodes are the error codes that log and metrics know.
var errorCodes = []string{
	oauth.InvalidRequest, oauth.InvalidClient, oauth.InvalidGrant, oauth.UnauthorizedClient, oauth.UnsupportedGrantType, oauth.InvalidScope,
	oauth.UnsupportedResponseType, oauth.AccessDenied, oauth.ServerError, oauth.TemporarilyUnavailable, oauth.InvalidToken,
	oauth.InsufficientScope, oauth.UnsupportedTokenType, oauth.InvalidTarget, oauth.LoginRequired, oauth.ConsentRequired,
	oauth.InteractionRequired, oauth.AccountSelection, oauth.RequestNotSupported, oauth.RequestURINotSupported,
	oauth.RegistrationUnsupported, oauth.UnmetAuthentication,
}
