package pages

import "net/http"

// The messages of error pages. Each says what the user can do.
const (
	MessageUnknownClient   = "The application that sent you here is not known to this server. Go back to it and tell its owner."
	MessageUnknownRedirect = "The application that sent you here asked to be answered at an address it has not registered. Go back to it and tell its owner."
	MessageBadRequest      = "The application that sent you here made a request that this server cannot read. Go back to it and try again."
	MessageFlowUnknown     = "This page does not belong to a sign-in that was started in this browser. Go back to the application and sign in again."
	MessageFlowExpired     = "This sign-in has taken too long. Go back to the application and sign in again."
	MessageFlowChanged     = "The application's registration changed while you were signing in. Go back to it and sign in again."
	MessageLogoutUnknown   = "This page is too old, or of another sign-in than the one in this browser. Go back to the application and sign out again."
	MessageLogoutHidden    = "An application tried to sign you out without showing you this page, so you may still be signed in. Open the application and sign out there again, and tell its owner."
	MessageBusy            = "This server is busy. Wait a few seconds, then try again."
	MessageMemory          = "This server has too little memory to check this password. Tell its administrator, who finds the reason in its log."
	MessageInternal        = "Something went wrong on this server. Wait a moment, then go back to the application and try again."
	MessageMethod          = "This address cannot be opened this way. Go back to the application and sign in again."
)

// MessageNoWay is for a client without a way to sign in now.
const MessageNoWay = "There is no way to sign in to this application at the moment. Tell its owner, or the administrator of this server."

// The messages that say why a user did not sign in at an identity provider, whose display name
// replaces %s.
const (
	FailureAway      = "Signing in with %s does not work at the moment. Wait a moment, then try again."
	FailureRefused   = "You were not signed in with %s. Try again if you want to."
	FailureInvalid   = "The answer of %s could not be accepted. Try again, and if that does not help, tell the administrator of this server."
	FailureDenied    = "You are signed in with %s, but may not sign in here with that account. Use another one, or ask the administrator of this server."
	FailureOtherUser = "You are signed in with %s as another user than the application asks for. Use another account."
	FailureFull      = "You are signed in with %s, but this server takes no more new users. Tell its administrator."
	FailureBusy      = "Many people sign in with %s just now. Wait a minute, then try again."
	FailureGroups    = "What %s says of you is not complete, so you cannot be signed in. Tell the administrator of this server."
	FailureTooOften  = "You have signed in with %s too often. Try again later, or ask the administrator of this server."
)

// The messages that say why the browser stays on this server after a logout, although the
// application asked for a redirect.
const (
	NoRedirectUnregistered = "The application wanted you to go on to an address that it has not registered. Its owner can correct that."
	NoRedirectHint         = "The application wanted you to go on to another address, but the ID token that it sent along is not one that this server accepts. Its owner can correct that."
	NoRedirectUnknown      = "The application wanted you to go on to another address, but it is not known to this server. Its owner can correct that."
	NoRedirectUnnamed      = "The application wanted you to go on to another address, but it did not say which application it is. Its owner can correct that."
)

// MessageForStatus returns the message for an error of which only the HTTP status is known.
func MessageForStatus(status int) string {
	switch status {
	case http.StatusMethodNotAllowed:
		return MessageMethod
	case http.StatusForbidden:
		return MessageFlowUnknown
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return MessageBusy
	case http.StatusInternalServerError:
		return MessageInternal
	default:
		return MessageBadRequest
	}
}
