package fetch

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
)

// Reason is what the owner of a URL may know of why a fetch failed. It is no more than that: a user
// who may name a URL must not learn from the answer what there is in the network of the server.
type Reason string

const (
	// Unreachable is for hosts that do not resolve, do not answer or may not be asked.
	Unreachable Reason = "Unreachable"
	// BadCertificate is for servers whose certificate is not for the host, or whose issuer is
	// not trusted.
	BadCertificate Reason = "BadCertificate"
	// BadAnswer is for answers that are not what was asked for: another status than 200, another
	// format, too large.
	BadAnswer Reason = "BadAnswer"
)

// Error is the error of a fetch. Its text is for the log.
type Error struct {
	Reason Reason
	err    error
}

// NewError returns an Error with a reason and a cause.
func NewError(reason Reason, cause error) *Error { return &Error{reason, cause} }

func (e *Error) Error() string { return string(e.Reason) + ": " + e.err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

// ReasonOf returns the reason of an error; Unreachable, if it is no Error.
func ReasonOf(err error) Reason {
	var known *Error
	if errors.As(err, &known) {
		return known.Reason
	}
	return Unreachable
}

// ErrNotAllowed is wrapped by the Error of a fetch from an address that the server's document does
// not allow.
var ErrNotAllowed = errors.New("not a public address, and not listed in the server's spec.fetch")

// classify returns the Error for what the transport has returned.
func classify(err error) *Error {
	var known *Error
	var certificate *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var hostname x509.HostnameError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &certificate), errors.As(err, &hostname):
		return &Error{BadCertificate, err}
	case errors.As(err, &header):
		return &Error{BadAnswer, err}
	default:
		return &Error{Unreachable, err}
	}
}

func notAllowed(address netip.Addr) *Error {
	return &Error{Unreachable, addressError{address}}
}

// addressError is ErrNotAllowed with the address.
type addressError struct{ address netip.Addr }

func (e addressError) Error() string { return e.address.String() + ": " + ErrNotAllowed.Error() }

// Is implements errors.Is.
func (e addressError) Is(target error) bool { return target == ErrNotAllowed }

// NotAllowedAddress returns the address that the Error of a fetch is about because the server's
// document does not allow it; false if it failed for another reason.
func NotAllowedAddress(err error) (netip.Addr, bool) {
	var known addressError
	ok := errors.As(err, &known)
	return known.address, ok
}
