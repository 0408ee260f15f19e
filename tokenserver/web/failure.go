package web

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// PageError is an error for a person in front of a browser.
type PageError struct {
	Status int
	// Sentence is fixed text that says what to do. It never quotes the request.
	Sentence string
	// Code for log and metrics, one of the protocol's error codes.
	Code string
	// RetryAfter, in seconds, if trying again then may help.
	RetryAfter int
	// Cause, if there is one, is for the log.
	Cause error
}

func (e *PageError) Error() string { return e.Code + ": " + e.Sentence }

// Unwrap gives the cause.
func (e *PageError) Unwrap() error { return e.Cause }

// retryAfter is how many seconds a client waits before it tries again when the store was away.
const retryAfter = 2

var errInternal = errors.New("internal error")

// methodNotAllowed is a 405 for either surface. 405 has no error code of its own.
func methodNotAllowed(methods []string) *oauth.Error {
	return oauth.Errorf(oauth.InvalidRequest, "this endpoint takes %s", strings.Join(methods, " or ")).
		WithStatus(http.StatusMethodNotAllowed).WithHeader("Allow", strings.Join(methods, ", "))
}

// protocolError is what a program learns about err. What it cannot know is server_error without detail.
func protocolError(err error) *oauth.Error {
	var known *oauth.Error
	var page *PageError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &page):
		return oauth.Errorf(page.Code, "%s", page.Sentence).WithStatus(page.Status)
	case temporary(err):
		return oauth.Errorf(oauth.TemporarilyUnavailable, "try again in a moment").
			WithHeader("Retry-After", strconv.Itoa(retryAfter))
	default:
		return oauth.Errorf(oauth.ServerError, "")
	}
}

// pageError is what a person learns about err.
func pageError(err error) *PageError {
	var known *PageError
	var protocol *oauth.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &protocol):
		return &PageError{Status: protocol.Status, Code: protocol.Code, Sentence: pages.SentenceFor(protocol.Status)}
	case temporary(err):
		return &PageError{Status: http.StatusServiceUnavailable, Code: oauth.TemporarilyUnavailable,
			Sentence: pages.SentenceFor(http.StatusServiceUnavailable), RetryAfter: retryAfter}
	default:
		return &PageError{Status: http.StatusInternalServerError, Code: oauth.ServerError,
			Sentence: pages.SentenceFor(http.StatusInternalServerError)}
	}
}

// temporary says whether the same request may succeed later: the store could not answer, others were faster again and again, what the server
// needs has not arrived yet, or the time for the request was over.
func temporary(err error) bool {
	return slices.ContainsFunc(passing, func(target error) bool { return errors.Is(err, target) })
}

var passing = []error{
	storage.ErrUnavailable, storage.ErrAmbiguous, storage.ErrFull, storage.ErrConflict, registry.ErrNotServing,
	context.Canceled, context.DeadlineExceeded,
}

// causeOf is what the log says about err beyond its code; nil if the code says all.
func causeOf(err error) error {
	var known *oauth.Error
	var page *PageError
	switch {
	case errors.As(err, &known):
		return known.Cause
	case errors.As(err, &page):
		return page.Cause
	default:
		return err
	}
}

func writeJSONError(w http.ResponseWriter, err error) string {
	known := protocolError(err)
	for name, values := range known.Headers {
		w.Header()[name] = slices.Clone(values)
	}
	body := struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{known.Code, known.Description}
	_ = JSON(w, known.Status, body) // two strings can be encoded
	return known.Code
}

func (e *Edge) writePageError(w http.ResponseWriter, err error) string {
	known := pageError(err)
	var protocol *oauth.Error
	if errors.As(err, &protocol) {
		for name, values := range protocol.Headers {
			w.Header()[name] = slices.Clone(values)
		}
	}
	if known.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(known.RetryAfter))
	}
	page := pages.Error{Sentence: known.Sentence, Request: w.Header().Get("Request-Id")}
	if e.Issuer != nil {
		page.Server = pages.Host(e.Issuer())
	}
	if err := Page(w, known.Status, page, ""); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
	return known.Code
}

// errorCodes that log and metrics know.
var errorCodes = []string{
	oauth.InvalidRequest, oauth.InvalidClient, oauth.InvalidGrant, oauth.UnauthorizedClient, oauth.UnsupportedGrantType, oauth.InvalidScope,
	oauth.UnsupportedResponseType, oauth.AccessDenied, oauth.ServerError, oauth.TemporarilyUnavailable, oauth.InvalidToken,
	oauth.InsufficientScope, oauth.UnsupportedTokenType, oauth.InvalidTarget, oauth.LoginRequired, oauth.ConsentRequired,
	oauth.InteractionRequired, oauth.AccountSelection, oauth.RequestNotSupported, oauth.RequestURINotSupported,
	oauth.RegistrationUnsupported, oauth.UnmetAuthentication,
}
