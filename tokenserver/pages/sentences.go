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
	SentenceLogoutHidden    = "An application tried to sign you out without showing you this page, so you may still be signed in. Open the application and sign out there again, and tell its owner."
	SentenceBusy            = "This server is busy. Wait a few seconds, then try again."
	SentenceMemory          = "This server has too little memory to check this password. Tell its administrator, who finds the reason in its log."
	SentenceInternal        = "Something went wrong on this server. Wait a moment, then go back to the application and try again."
	SentenceMethod          = "This address cannot be opened this way. Go back to the application and sign in again."
)

// The sentences that say why the user stays on this server after signing out, although the application
// wanted them to go on.
const (
	StaysUnregistered = "The application wanted you to go on to an address that it has not registered. Its owner can correct that."
	StaysHint         = "The application wanted you to go on to another address, but the ID token that it sent along is not one that this server accepts. Its owner can correct that."
	StaysUnknown      = "The application wanted you to go on to another address, but it is not known to this server. Its owner can correct that."
	StaysUnnamed      = "The application wanted you to go on to another address, but it did not say which application it is. Its owner can correct that."
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
