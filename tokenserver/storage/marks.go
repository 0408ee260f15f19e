package storage

import "time"

// MarkKind is what a Mark is about.
type MarkKind string

const (
	// MarkToken is for access tokens: the id of one that was revoked.
	MarkToken MarkKind = "token"
	// MarkSession is for sessions: the hash of the root of those that have ended.
	MarkSession MarkKind = "session"
	// MarkAssertion is for JWTs with which clients authenticate: one that was used (RFC 7523
	// section 3).
	MarkAssertion MarkKind = "assertion"
)

// Mark records that something ended before it expired, or was used. Kind and ID identify it.
type Mark struct {
	Kind MarkKind
	ID   string
	// UserUID, ClientUID and Namespace (of the client) are what the mark is counted by. Each may be
	// empty.
	UserUID   string
	ClientUID string
	Namespace string
	// ExpiresAt is when the mark is removed: what it is about has expired.
	ExpiresAt time.Time
}

// MarkBounds bounds the unexpired marks of a kind; 0 is no bound. A mark above a bound is refused
// with ErrFull, so that one user, client or namespace cannot use up the capacity of the others.
type MarkBounds struct{ PerUserAndClient, PerClient, PerNamespace, PerServer int }

// DefaultMarkBounds returns the bounds on marks of a kind. MarkSession has none, since ending a
// session must always be possible; package session bounds the logins instead.
func DefaultMarkBounds(kind MarkKind) MarkBounds {
	switch kind {
	case MarkToken:
		return MarkBounds{PerUserAndClient: 100, PerClient: 1_000, PerNamespace: 10_000, PerServer: 100_000}
	case MarkAssertion:
		return MarkBounds{PerClient: 10_000, PerNamespace: 50_000}
	}
	return MarkBounds{}
}
