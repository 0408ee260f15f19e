package ldap

import (
	"errors"
	"fmt"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/oauth-operator/oauth-operator/tokenserver/places"
)

var (
	// ErrWrong is returned for a sign-in whose username and password are not those of a user who may
	// sign in. What is wrong is not said: all such answers are alike.
	ErrWrong = errors.New("the username and the password are not those of a user")
	// ErrDenied is ErrWrong for a user whose password is right: it is for the log and the metric alone.
	ErrDenied = fmt.Errorf("%w who may sign in", ErrWrong)
	// ErrGone is returned for a user whom the directory does not have any more, or who does not match
	// the filters any more.
	ErrGone = errors.New("the user is not found any more")
	// ErrBusy is returned when too many others wait for the directory, or too many of the user or from
	// the source.
	ErrBusy = places.ErrBusy
)

// Reason is why a directory cannot be asked.
type Reason string

const (
	// Away is for a directory that is not reached, or that does not answer as one.
	Away Reason = "Away"
	// NoCredential is for one whose bind password this process does not have.
	NoCredential Reason = "NoCredential"
	// BindRefused is for one that refuses the bind account.
	BindRefused Reason = "BindRefused"
	// SearchRefused is for one that answers a search with an error, such as about a base DN that does
	// not exist.
	SearchRefused Reason = "SearchRefused"
	// Referral is for one that names other directories where the rest of the answer is.
	Referral Reason = "Referral"
	// Incomplete is for one that does not say all that was asked about a user, such as more groups
	// than it returns at once.
	Incomplete Reason = "Incomplete"
)

// Error is the error of asking a directory. Its text is for the log, and quotes no answer.
type Error struct {
	Reason Reason
	err    error
}

func (e *Error) Error() string { return string(e.Reason) + ": " + e.err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

// away returns the Error for a directory that does not answer.
func away(cause error) error { return &Error{Away, cause} }

func isAway(err error) bool { return hasReason(err, Away) }

func isIncomplete(err error) bool { return hasReason(err, Incomplete) }

func hasReason(err error, reason Reason) bool {
	var failed *Error
	return errors.As(err, &failed) && failed.Reason == reason
}

// resultCode returns the result with which a directory has answered; false if err is not about an
// answer. The LDAP library has codes of its own beyond those of RFC 4511.
func resultCode(err error) (uint16, bool) {
	var answered *goldap.Error
	if !errors.As(err, &answered) || answered.ResultCode >= goldap.ErrorNetwork {
		return 0, false
	}
	return answered.ResultCode, true
}

// describe returns a result as RFC 4511 names it, without the text that comes with it.
func describe(code uint16) string {
	return fmt.Sprintf("result %d (%s)", code, goldap.LDAPResultCodeMap[code])
}
