// Package storage defines what the token server remembers: Grants, Consents, Identities and Marks,
// and the interface of the stores that keep them. Package grant decides what a state of a record means. No
// record contains a secret, a code or a usable token.
//
//	storage.go       the interfaces Store and Reader, and their errors
//	records.go       Grant and Consent
//	basis.go         what a grant rests on, and reading it together with the grant
//	rotation.go      replacing a refresh token without reading the grant first
//	identities.go    Identity, and the part of Store that keeps identities
//	void.go          VoidGrants, by which stores know what tokensNotBefore voids
//	marks.go         Mark, and the bounds on marks
//	mark_counter.go  MarkCounter, which keeps these bounds for stores with all marks in memory
//	metrics.go       the metrics that all stores have
//	measured/        a Store that measures the calls to another one
//	memory/          a Store in memory
//	kubernetes/      a Store in objects of the cluster
//	postgres/        a Store in a PostgreSQL database
//	storagetest/     the conformance tests that every Store passes, and a Store with faults
package storage

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/notbefore"
)

var (
	// ErrNotFound is returned if there is no such record.
	ErrNotFound = errors.New("record not found")
	// ErrExists is returned if a record with the same id exists.
	ErrExists = errors.New("record exists already")
	// ErrConflict is returned if the record has another version than the caller has read.
	ErrConflict = errors.New("record has another version")
	// ErrAmbiguous is returned if it is not known whether a write has happened. The caller can read
	// the record and compare its Attempt.
	ErrAmbiguous = errors.New("outcome of the write is unknown")
	// ErrUnavailable is returned if the store cannot be reached. Nothing was written.
	ErrUnavailable = errors.New("storage is unavailable")
	// ErrFull is returned if a bound on grants, identities or marks is reached.
	ErrFull = errors.New("too many records")
	// ErrSessionEnded is returned if the session of a grant that is to be created has ended.
	ErrSessionEnded = errors.New("session has ended")
)

// Store keeps grants, consents, identities and marks. Every method may return ErrUnavailable, and a write
// ErrAmbiguous. Reads see every write that was acknowledged before, by any replica. A Store is safe
// for concurrent use.
type Store interface {
	Reader
	IdentityStore

	// CreateGrant creates g under the id that it has. It returns ErrSessionEnded if the session of g,
	// if it has one, is marked as ended (MarkSession), also if g is offline; else ErrExists if the id
	// is taken, by a live or an ended grant, and ErrFull at the bound of the server. At the bound of a
	// user and a client it ends their oldest live grant (EndBound).
	CreateGrant(ctx context.Context, g Grant) (Grant, error)
	// UpdateGrant replaces the grant with the id of g if it still has the version of g. It returns
	// ErrConflict or ErrNotFound otherwise. What does not change in the life of a grant (Grant) must be
	// as it was read.
	UpdateGrant(ctx context.Context, g Grant) (Grant, error)

	// GetConsent returns a consent, or ErrNotFound. A user's consent is withdrawn by deleting it in
	// the store (kubectl, SQL); the store ends the grants that rest on it (EndConsentWithdrawn), at
	// the next Sweep at the latest.
	GetConsent(ctx context.Context, userUID, clientUID string) (Consent, error)
	// PutConsent creates c if its Version is empty (ErrExists), and else replaces that version
	// (ErrConflict, ErrNotFound).
	PutConsent(ctx context.Context, c Consent) (Consent, error)

	// SetMark sets a mark. If it is set already, the later ExpiresAt is kept. It returns ErrFull at
	// one of DefaultMarkBounds, which all replicas keep together, except for marks that several of
	// them set at the same moment.
	SetMark(ctx context.Context, m Mark) error
	// CreateMark sets a mark that is not set. It returns ErrExists if it is, also if it has expired
	// and was not swept yet: of all calls with one mark, at all replicas, one succeeds. It returns
	// ErrFull as SetMark does.
	CreateMark(ctx context.Context, m Mark) error
	// CountMarks returns how many unexpired marks of a kind a user has, and at most limit. Marks
	// that another replica has just set may be missing.
	CountMarks(ctx context.Context, kind MarkKind, userUID string, limit int) (int, error)

	// Sweep removes the records that have expired at now, and the identities that are idle and not
	// needed (IdentityRetention), and returns how many. What is much work may be left for the next
	// Sweep, and all of it to one of several replicas.
	Sweep(ctx context.Context, now time.Time) (int, error)

	// SetNotBefore sets the function that returns what makes grants void. A void grant stays as it
	// is, and counts against no bound.
	SetNotBefore(times func() notbefore.Times)

	// OnEnd sets the function that is called with each grant that the store has ended by itself: at
	// the bound of a user and a client, or because its consent was deleted. Of the grant, no more need
	// be set than ID, ClientUID, ClientID, UserUID and EndReason. The function must not block.
	OnEnd(notify func(ctx context.Context, g Grant))
}

// Reader reads the records that decide whether a token is good.
type Reader interface {
	// GetGrant returns a grant, or ErrNotFound.
	GetGrant(ctx context.Context, id string) (Grant, error)
	// HasConsent reports whether the consent of the user to the client exists and has this UID. No
	// consent has an empty UID.
	HasConsent(ctx context.Context, userUID, clientUID, consentUID string) (bool, error)
	// GetIdentity returns an identity, or ErrNotFound.
	GetIdentity(ctx context.Context, subject string) (Identity, error)
	// IsMarked reports whether a mark is set and has not expired.
	IsMarked(ctx context.Context, kind MarkKind, id string) (bool, error)
}

// RecentReader returns the cheapest reads of s that are good enough to tell whether an access token
// is active. They find every record that was created before. A grant or an identity that another
// replica changed, or a mark that it set, may be seen later: after milliseconds as a rule, and after
// MaxRecentLag at the latest. Stores without such reads return their own.
func RecentReader(s Store) Reader {
	if r, ok := s.(interface{ RecentReader() Reader }); ok {
		return r.RecentReader()
	}
	return s
}

// MaxRecentLag is how late the reads of RecentReader may see a change when a connection has died
// unnoticed.
const MaxRecentLag = 15 * time.Second

// EndNotifier implements Store.OnEnd for stores that embed it. It is a callback that is set later,
// since the service that counts and logs ended grants is built on the store, and a store may end
// grants in the background. The zero value calls nothing.
type EndNotifier struct {
	notify atomic.Pointer[func(context.Context, Grant)]
}

// OnEnd implements Store.
func (e *EndNotifier) OnEnd(notify func(ctx context.Context, g Grant)) { e.notify.Store(&notify) }

// NotifyEnd calls the function set by OnEnd.
func (e *EndNotifier) NotifyEnd(ctx context.Context, g Grant) {
	if notify := e.notify.Load(); notify != nil {
		(*notify)(ctx, g)
	}
}
