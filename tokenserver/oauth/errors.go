package oauth

import (
	"fmt"
	"net/http"
	"strings"
)

// Error codes. Each comment names where the code is defined.
const (
	InvalidRequest          = "invalid_request"           // RFC 6749 sections 4.1.2.1 and 5.2, RFC 6750 section 3.1
	InvalidClient           = "invalid_client"            // RFC 6749 section 5.2
	InvalidGrant            = "invalid_grant"             // RFC 6749 section 5.2
	UnauthorizedClient      = "unauthorized_client"       // RFC 6749 sections 4.1.2.1 and 5.2
	UnsupportedGrantType    = "unsupported_grant_type"    // RFC 6749 section 5.2
	InvalidScope            = "invalid_scope"             // RFC 6749 sections 4.1.2.1 and 5.2
	UnsupportedResponseType = "unsupported_response_type" // RFC 6749 section 4.1.2.1
	AccessDenied            = "access_denied"             // RFC 6749 section 4.1.2.1
	ServerError             = "server_error"              // RFC 6749 section 4.1.2.1
	TemporarilyUnavailable  = "temporarily_unavailable"   // RFC 6749 section 4.1.2.1
	InvalidToken            = "invalid_token"             // RFC 6750 section 3.1
	InsufficientScope       = "insufficient_scope"        // RFC 6750 section 3.1
	UnsupportedTokenType    = "unsupported_token_type"    // RFC 7009 section 2.2.1
	InvalidTarget           = "invalid_target"            // RFC 8707 section 2
	LoginRequired           = "login_required"            // OpenID Connect Core section 3.1.2.6
	ConsentRequired         = "consent_required"          // OpenID Connect Core section 3.1.2.6
	InteractionRequired     = "interaction_required"      // OpenID Connect Core section 3.1.2.6
	AccountSelection        = "account_selection_required"
	RequestNotSupported     = "request_not_supported"      // OpenID Connect Core section 3.1.2.6
	RequestURINotSupported  = "request_uri_not_supported"  // OpenID Connect Core section 3.1.2.6
	RegistrationUnsupported = "registration_not_supported" // OpenID Connect Core section 3.1.2.6
	// OpenID Connect Core Error Code unmet_authentication_requirements 1.0.
	UnmetAuthentication = "unmet_authentication_requirements"
)

// Error is an error response of an endpoint. It never contains a secret, a code or a token.
type Error struct {
	// Code is one of the registered error codes.
	Code string
	// Description is for the developer of the client. It has the characters that RFC 6749 section
	// 5.2 allows: %x20-21 / %x23-5B / %x5D-7E.
	Description string
	// Status is the HTTP status, unless the response is a redirect.
	Status int
	// Headers are headers of the response, such as WWW-Authenticate, Retry-After or Allow.
	Headers http.Header
	// Cause is logged, and never sent to the client; it may be nil.
	Cause error
}

// Errorf returns an Error with a code and the HTTP status of the code. In the description, ?
// replaces characters that it must not contain.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Description: sanitize(fmt.Sprintf(format, args...)), Status: statusOf(code)}
}

// statusOf returns the HTTP status of an error code.
func statusOf(code string) int {
	switch code {
	case InvalidClient, InvalidToken:
		return http.StatusUnauthorized
	case InsufficientScope:
		return http.StatusForbidden
	case ServerError:
		return http.StatusInternalServerError
	case TemporarilyUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusBadRequest
	}
}

func (e *Error) Error() string {
	if e.Description == "" {
		return e.Code
	}
	return e.Code + ": " + e.Description
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// WithStatus sets the HTTP status and returns e.
func (e *Error) WithStatus(status int) *Error {
	e.Status = status
	return e
}

// WithHeader adds a header and returns e.
func (e *Error) WithHeader(name, value string) *Error {
	if e.Headers == nil {
		e.Headers = http.Header{}
	}
	e.Headers.Add(name, value)
	return e
}

// WithCause sets the cause and returns e.
func (e *Error) WithCause(err error) *Error {
	e.Cause = err
	return e
}

// sanitize replaces the characters that RFC 6749 section 5.2 does not allow in a description.
func sanitize(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < 0x20 || r > 0x7e || r == '\\':
			return '?'
		default:
			return r
		}
	}, s)
}
