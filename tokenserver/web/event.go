package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// event is what will be known about a request once it is over. Only the fields below are logged, and none of them holds text of the
// request: a client id is that of a registered client, a source is an address, the others come from fixed sets.
type event struct {
	id        string
	began     time.Time
	clientID  string
	grantType string
	errorCode string
	source    netip.Prefix
	// cause is logged as an event of its own: it is ours, and says why the other side learned nothing more.
	cause error
}

type eventKey struct{}

// RequestID of the request that ctx belongs to: 24 hexadecimal digits, also in the Request-Id header of the answer. Empty outside a request.
func RequestID(ctx context.Context) string {
	if e := eventOf(ctx); e != nil {
		return e.id
	}
	return ""
}

// NoteClient says which client the request is from. Only for the id of a client that is registered.
func NoteClient(ctx context.Context, id string) {
	if e := eventOf(ctx); e != nil {
		e.clientID = id
	}
}

// NoteGrantType says which grant type the request uses. Unknown ones are not noted.
func NoteGrantType(ctx context.Context, grantType string) {
	if e := eventOf(ctx); e != nil && slices.Contains(grantTypes, grantType) {
		e.grantType = grantType
	}
}

// NoteError says which error the answer carries, for a handler that writes it itself (a redirect to the client, a form shown again).
func NoteError(ctx context.Context, code string) {
	if e := eventOf(ctx); e != nil {
		e.failed(code)
	}
}

// NoteFailure is NoteError for a handler that tells err to the client by a redirect. It returns what the client may know of err.
func NoteFailure(ctx context.Context, err error) *oauth.Error {
	known := protocolError(err)
	if e := eventOf(ctx); e != nil {
		e.failed(known.Code)
		e.cause = causeOf(err)
	}
	return known
}

func eventOf(ctx context.Context) *event {
	e, _ := ctx.Value(eventKey{}).(*event)
	return e
}

// failed notes an error code; one that is not in the fixed set becomes "other".
func (e *event) failed(code string) {
	if !slices.Contains(errorCodes, code) {
		code = "other"
	}
	e.errorCode = code
}

// finish logs the event and counts it.
func (e *Edge) finish(r *http.Request, name string, event *event, answer *recorder, counters *endpointMetrics) {
	took := e.Now().Sub(event.began)
	status := answer.status
	if status == 0 {
		status = http.StatusOK
	}
	method := knownMethod(r.Method)
	counters.observe(method, status, event.grantType, event.errorCode, took)
	// That a client hangs up before it is answered is no failure of ours.
	gone := errors.Is(r.Context().Err(), context.Canceled) && event.cause != nil && temporary(event.cause)
	if event.cause != nil && !gone {
		e.Log.LogAttrs(r.Context(), slog.LevelError, "request failed",
			slog.String("request", event.id), slog.String("endpoint", name), slog.String("cause", event.cause.Error()))
	}
	level := slog.LevelInfo
	if status >= http.StatusInternalServerError && !gone {
		level = slog.LevelWarn
	}
	if !e.Log.Enabled(r.Context(), level) {
		return
	}
	fields := make([]slog.Attr, 0, 9)
	fields = append(fields, slog.String("request", event.id), slog.String("endpoint", name), slog.String("method", method),
		slog.Int("status", status), slog.Duration("duration", took))
	for _, f := range []struct{ key, value string }{
		{"client", event.clientID}, {"grant_type", event.grantType}, {"error", event.errorCode},
	} {
		if f.value != "" {
			fields = append(fields, slog.String(f.key, f.value))
		}
	}
	if event.source.IsValid() {
		fields = append(fields, slog.String("source", event.source.String()))
	}
	e.Log.LogAttrs(r.Context(), level, "request", fields...)
}

// knownMethod is the method, or OTHER: a request may name any token there.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "OTHER"
}

// grantTypes that log and metrics know.
var grantTypes = []string{
	oauth.GrantAuthorizationCode, oauth.GrantImplicit, oauth.GrantPassword, oauth.GrantClientCredentials, oauth.GrantRefreshToken,
}
