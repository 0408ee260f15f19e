package pages

import "net/http"

// The sentences of error pages. Each says what to do.
const (
	SentenceUnknownClient   = "The application that sent you here is not known to this server. Go back to it and tell its owner."
	SentenceUnknownRedirect = "The application that sent you here asked to be answered at an address it has not registered. Go back to it and tell its owner."
	SentenceBadRequest      = "The application that sent you here made a request that this server cannot read. Go back to it and try again."
	SentenceFlowUnknown     = "This page does not belong to a sign-in that was started in this browser. Go back to the application and sign in again."
	SentenceFlowExpired     = "This sign-in has taken too long. Go back to the application and sign in again."
	SentenceFlowChanged     = "The application's registration changed while you were signing in. Go back to it and sign in again."
	SentenceLogoutUnknown   = "This page is too old, or of another sign-in than the one in this browser. Go back to the application and sign out again."
	SentenceBusy            = "This server is busy. Wait a few seconds, then try again."
	SentenceInternal        = "Something went wrong on this server. Wait a moment, then go back to the application and try again."
	SentenceMethod          = "This address cannot be opened this way. Go back to the application and sign in again."
)

// SentenceFor an HTTP status, where nothing more is known.
func SentenceFor(status int) string {
	switch status {
	case http.StatusMethodNotAllowed:
		return SentenceMethod
	case http.StatusForbidden:
		return SentenceFlowUnknown
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return SentenceBusy
	case http.StatusInternalServerError:
		return SentenceInternal
	default:
		return SentenceBadRequest
	}
}
