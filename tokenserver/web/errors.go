package web

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
)

// PageError is an error that a browser shows to a user.
type PageError struct {
	Status int
	// Message is one of the messages of package pages. It never quotes the request.
	Message string
	// Code is the error code for log and metrics, one of those of package oauth.
	Code string
	// RetryAfter is the number of seconds after which a retry may succeed; 0: unknown.
	RetryAfter int
	// Cause is logged, and never shown; it may be nil.
	Cause error
}

func (e *PageError) Error() string { return e.Code + ": " + e.Message }

// Unwrap returns the cause.
func (e *PageError) Unwrap() error { return e.Cause }

var errInternal = errors.New("internal error")

// NotReady returns the error of a server that has no server document, or no keys, yet.
func NotReady() error {
	return oauth.Errorf(oauth.TemporarilyUnavailable, "the server is not ready yet").WithHeader("Retry-After", RetryAfterHeader())
}

// methodNotAllowed returns a 405. The protocol has no error code for it.
func methodNotAllowed(methods []string) *oauth.Error {
	return oauth.Errorf(oauth.InvalidRequest, "this endpoint allows only %s", strings.Join(methods, " and ")).
		WithStatus(http.StatusMethodNotAllowed).WithHeader("Allow", strings.Join(methods, ", "))
}

// protocolError returns what the client may know about err. Its Cause is what only the log may say,
// nil if it adds nothing. An error that is not known here is a server_error without a description.
func protocolError(err error) *oauth.Error {
	var known *oauth.Error
	var page *PageError
	var refused *grant.RefusedError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &page):
		return oauth.Errorf(page.Code, "%s", page.Message).WithStatus(page.Status).WithCause(page.Cause)
	case errors.As(err, &refused):
		return oauth.Errorf(refusalCodes[refused.Kind], "%s", refused.Reason)
	case errors.Is(err, registry.ErrInvalidScope):
		return oauth.Errorf(oauth.InvalidScope, "a scope is unknown, not registered by the client, or not allowed to it")
	case errors.Is(err, registry.ErrInvalidTarget):
		return oauth.Errorf(oauth.InvalidTarget, "a resource is unknown, or its owner does not allow this client")
	case errors.Is(err, storage.ErrFull):
		return oauth.Errorf(oauth.TemporarilyUnavailable, "the server holds as many authorizations as it may").
			WithHeader("Retry-After", retryAfterFull).WithCause(err)
	case isTemporary(err):
		return oauth.Errorf(oauth.TemporarilyUnavailable, "the server cannot answer now; nothing is wrong with the request, try again in a moment").
			WithHeader("Retry-After", RetryAfterHeader()).WithCause(err)
	default:
		return oauth.Errorf(oauth.ServerError, "").WithCause(err)
	}
}

var refusalCodes = map[grant.RefusalKind]string{
	grant.InvalidGrant:  oauth.InvalidGrant,
	grant.InvalidScope:  oauth.InvalidScope,
	grant.InvalidTarget: oauth.InvalidTarget,
}

// isTemporary reports whether the same request may succeed later: the store or the directory of the
// user did not answer, other requests kept changing the same record, the server is not ready, or the
// request took too long.
func isTemporary(err error) bool {
	return slices.ContainsFunc(temporaryErrors, func(target error) bool { return errors.Is(err, target) })
}

var temporaryErrors = []error{
	storage.ErrUnavailable, storage.ErrAmbiguous, storage.ErrFull, storage.ErrConflict, registry.ErrNotServing,
	users.ErrUnconfirmed, context.Canceled, context.DeadlineExceeded,
}

// writeJSONError answers with err as JSON (RFC 6749 section 5.2).
func writeJSONError(w http.ResponseWriter, err error) *oauth.Error {
	known := protocolError(err)
	setHeaders(w, known)
	body := struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{known.Code, known.Description}
	_ = JSON(w, known.Status, body) // encoding two strings does not fail
	return known
}

// writePageError answers with err as a page.
func (a *Adapter) writePageError(w http.ResponseWriter, err error) *oauth.Error {
	known := protocolError(err)
	setHeaders(w, known)
	message := pages.MessageForStatus(known.Status)
	var page *PageError
	if errors.As(err, &page) {
		message = page.Message
		if page.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(page.RetryAfter))
		}
	}
	content := pages.Error{Message: message, Request: w.Header().Get("Request-Id")}
	if a.Issuer != nil {
		content.Server = pages.Host(a.Issuer())
	}
	if err := Page(w, known.Status, content, ""); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
	return known
}

func setHeaders(w http.ResponseWriter, err *oauth.Error) {
	for name, values := range err.Headers {
		w.Header()[name] = slices.Clone(values)
	}
}
