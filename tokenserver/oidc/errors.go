package oidc

import (
	"errors"
	"net/http"
	"slices"

	"golang.org/x/oauth2"

	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// Reason is why a sign-in failed, as far as a page can tell it.
type Reason string

const (
	// Away is for a provider that is not reached, or that does not answer as an OpenID provider does.
	Away Reason = "Away"
	// NoCredential is for a provider whose client secret this process does not have.
	NoCredential Reason = "NoCredential"
	// ClientRefused is for a provider that does not accept our client id and secret.
	ClientRefused Reason = "ClientRefused"
	// Refused is for a response with an error, such as when the user cancels.
	Refused Reason = "Refused"
	// Invalid is for an answer that proves nothing.
	Invalid Reason = "Invalid"
	// Busy is for a callback for which there is no place among those that wait for the provider.
	Busy Reason = "Busy"
	// NotFresh is for a user who had to sign in anew, and of whom the provider does not say so.
	NotFresh Reason = "NotFresh"
)

// Error is the error of a sign-in. Its text is for the log.
type Error struct {
	Reason Reason
	err    error
}

func (e *Error) Error() string { return string(e.Reason) + ": " + e.err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

func invalid(text string) error { return &Error{Invalid, errors.New(text)} }

// errorCodes are the codes that errors of this package name. A provider, or who opens the
// callback, can send any others.
var errorCodes = []string{
	// RFC 6749 sections 4.1.2.1 and 5.2
	oauth.InvalidRequest, oauth.UnauthorizedClient, oauth.AccessDenied, oauth.UnsupportedResponseType, oauth.InvalidScope, oauth.ServerError,
	oauth.TemporarilyUnavailable, oauth.InvalidClient, oauth.InvalidGrant, oauth.UnsupportedGrantType,
	// OpenID Connect Core section 3.1.2.6
	oauth.LoginRequired, oauth.InteractionRequired, oauth.ConsentRequired, "account_selection_required",
}

// knownCode returns the code, if it is one of errorCodes.
func knownCode(code string) string {
	if slices.Contains(errorCodes, code) {
		return code
	}
	return "an error that no specification names"
}

func isClientError(r *http.Response) bool {
	return r != nil && r.StatusCode >= 400 && r.StatusCode < 500
}

// errExchange returns the Error for a token request that failed (RFC 6749 section 5.2). The cause is
// not wrapped where it has the text of the response.
func errExchange(err error) error {
	var answered *oauth2.RetrieveError
	var failed *fetch.Error
	switch {
	case errors.As(err, &failed):
		return &Error{Away, failed} // without the *url.Error around it
	case !errors.As(err, &answered):
		return &Error{Away, fetch.NewError(fetch.BadAnswer, errors.New("the token endpoint answers with no token response"))}
	case answered.ErrorCode == oauth.InvalidClient || answered.ErrorCode == oauth.UnauthorizedClient:
		return &Error{ClientRefused, errors.New("the token endpoint answers " + answered.ErrorCode)}
	case answered.ErrorCode != "":
		return &Error{Invalid, errors.New("the token endpoint answers " + knownCode(answered.ErrorCode))}
	case isClientError(answered.Response):
		// A browser can send a code that a provider refuses in words of its own: it is not away.
		return invalid("the token endpoint refuses the code with no error of OAuth")
	default:
		return &Error{Away, fetch.NewError(fetch.BadAnswer, errors.New("the token endpoint answers with no token response"))}
	}
}
