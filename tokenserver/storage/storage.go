// Package storage keeps what outlives a request: one Grant for each authorization, Consents, and Marks. The verbs are few, every one takes a
// context, and every backend passes the suite in storagetest.
//
// A Grant is created once under an id that the caller chose, and advanced by compare-and-swap on its Version. Nothing here decides what a
// state means; that is package grant's. No record holds a secret, a code or a usable token.
package storage

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

var (
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("storage: not found")
	// ErrExists: a record with this id exists already.
	ErrExists = errors.New("storage: exists already")
	// ErrConflict: the record has another version than the caller read.
	ErrConflict = errors.New("storage: version conflict")
	// ErrAmbiguous: the write may or may not have happened; read again and compare the attempt.
	ErrAmbiguous = errors.New("storage: outcome unknown")
	// ErrUnavailable: the store cannot be reached, and nothing was written.
	ErrUnavailable = errors.New("storage: unavailable")
	// ErrFull: a bound is reached, on live grants or on marks.
	ErrFull = errors.New("storage: too many records")
)

// Bounds on live grants: those that have neither ended nor expired.
const (
	// MaxGrantsOfPair is how many live grants a user may have at one client; one more ends the oldest.
	MaxGrantsOfPair = 20
	// MaxGrants is how many live grants a server may have; one more is ErrFull.
	MaxGrants = 100_000
)

// EndedRetention is how long a grant is kept once it has ended. It is longer than any authorization code lives, so that a code is still seen
// to have been redeemed; a token whose grant is gone authorises nothing.
const EndedRetention = 15 * time.Minute

// Reasons for which a grant ends.
const (
	EndCodeReuse         = "CodeReuse"
	EndRefreshTokenReuse = "RefreshTokenReuse"
	EndRevoked           = "Revoked"
	EndConsentWithdrawn  = "ConsentWithdrawn"
	EndLogout            = "Logout"
	// EndSessionReplaced: another user has logged in over the session.
	EndSessionReplaced = "SessionReplaced"
	EndBound           = "Bound"
	// EndUnanswered: it began by a request that got no answer, so nobody has a token of it.
	EndUnanswered = "Unanswered"
)

// Grant is one authorization: of a user to a client, by a code or by a password.
type Grant struct {
	// ID chosen by who creates it: for a code, taken from the code, so that redeeming it twice collides.
	ID string
	// Version is set by the store; an Update must present the version that was read.
	Version string
	// Incarnation is random; every token of the grant carries it, so that a record created again under the id revives none.
	Incarnation string
	// Attempt is the id of the request that wrote last, to recognise one's own write after an ambiguous answer.
	Attempt string

	ClientUID string
	ClientID  string
	UserUID   string
	Subject   string
	// UserEpoch of the user when the grant began.
	UserEpoch string
	// SessionHash is the hash of the session's root; empty for the password grant.
	SessionHash string
	AuthTime    time.Time
	AMR         []string

	Scopes    []string // granted
	Resources []string // RFC 8707, as asked; empty: by scope
	// APIs are the ResourceServers that Scopes and Resources are of. A scope or resource that now
	// is of another object under the same name is no part of the grant.
	APIs []API
	// Claims about the user that were granted one by one, beyond those that Scopes stand for
	// (OpenID Connect Core section 5.5).
	Claims []string
	// RedirectURI of the authorization request; refused once the client no longer registers it. Empty for the password grant.
	RedirectURI string
	// Nonce and ClaimsRequest of the authentication request (OpenID Connect Core sections 3.1.2.1 and 5.5).
	Nonce         string
	ClaimsRequest string

	// Consented: the authorization rests on the consent with ConsentUID, and ends with it: one that
	// was given later is another. A store ends the grant (EndConsentWithdrawn) when it finds that
	// the consent is gone.
	Consented  bool
	ConsentUID string
	// Offline: the refresh token outlives the session (scope offline_access, or the password grant).
	Offline bool
	// Generation of the refresh token that is current, from 1; 0: the grant has no refresh token.
	Generation int64
	// AdvancedAt is when Generation became current; the grace period starts there.
	AdvancedAt time.Time
	// SealKID is the key under which the current generation's refresh token is sealed.
	SealKID string

	CreatedAt time.Time
	LastUsed  time.Time
	// RefreshUntil is the absolute end of refreshing; zero: no refresh token.
	RefreshUntil time.Time
	// ExpiresAt is when the record can authorise nothing any more, and is removed.
	ExpiresAt time.Time
	// EndedAt is set when the grant was ended; the record stays until ExpiresAt, so that replays are still seen.
	EndedAt time.Time
	// EndReason says why, for people: one of the constants above.
	EndReason string
}

// Ended says whether the grant authorises nothing any more.
func (g Grant) Ended() bool { return !g.EndedAt.IsZero() }

// End marks the grant as ended at now, and shortens how long it is kept.
func (g *Grant) End(now time.Time, reason string) {
	g.EndedAt, g.EndReason = now, reason
	if until := now.Add(EndedRetention); until.Before(g.ExpiresAt) {
		g.ExpiresAt = until
	}
}

// Live says whether the grant has neither ended nor expired at now.
func (g Grant) Live(now time.Time) bool { return !g.Ended() && now.Before(g.ExpiresAt) }

// Clone returns a copy that shares no list with g.
func (g Grant) Clone() Grant {
	g.AMR, g.Scopes, g.Resources = slices.Clone(g.AMR), slices.Clone(g.Scopes), slices.Clone(g.Resources)
	g.APIs, g.Claims = cloneAPIs(g.APIs), slices.Clone(g.Claims)
	return g
}

// API is a ResourceServer as one object: created again under its identifier, it has another UID.
type API struct {
	UID        string
	Identifier string
	// Scopes of this API, among those of the record that holds it.
	Scopes []string
}

func cloneAPIs(apis []API) []API {
	apis = slices.Clone(apis)
	for i := range apis {
		apis[i].Scopes = slices.Clone(apis[i].Scopes)
	}
	return apis
}

// Consent is what a user has allowed a client, for good.
type Consent struct {
	UserUID   string
	ClientUID string
	// UID is set by the store when the consent is created. It stays when the consent grows, and one
	// that is given after a withdrawal has another.
	UID     string
	Version string // as in Grant

	Scopes []string
	// Claims that were allowed one by one, and APIs that were, with those of Scopes that are
	// theirs.
	Claims []string
	APIs   []API

	GrantedAt time.Time
	UpdatedAt time.Time
}

// Clone returns a copy that shares no list with c.
func (c Consent) Clone() Consent {
	c.Scopes, c.Claims, c.APIs = slices.Clone(c.Scopes), slices.Clone(c.Claims), cloneAPIs(c.APIs)
	return c
}

// Reader reads what a token stands on.
type Reader interface {
	// Grant, Marked and Consented are as in Store.
	Grant(ctx context.Context, id string) (Grant, error)
	Marked(ctx context.Context, kind MarkKind, id string) (bool, error)
	Consented(ctx context.Context, userUID, clientUID, consentUID string) (bool, error)
}

// Recent gives the cheapest reads that are good enough to say whether an access token is active. What was created before is found by all of
// them; that a grant was changed, or a mark set, by another replica may take a moment to be seen: milliseconds as a rule, and never longer than
// RecentBound. A store that has no such reads gives its own.
func Recent(s Store) Reader {
	if r, ok := s.(interface{ Recent() Reader }); ok {
		return r.Recent()
	}
	return s
}

// RecentBound is how far behind the reads of Recent may be at the worst: when a connection has died and nobody has noticed.
const RecentBound = 15 * time.Second

// Store keeps grants, consents and marks. Every method may return ErrUnavailable, and a write ErrAmbiguous. Reads see every write that was
// acknowledged before, by whichever replica.
type Store interface {
	// CreateGrant creates g. ErrExists if the id is taken, by a live or an ended grant; ErrFull at the bound of the server. If the pair of
	// user and client would have more live grants than the bound, the oldest is ended (EndReason Bound).
	CreateGrant(ctx context.Context, g Grant) (Grant, error)
	// Grant reads one. ErrNotFound.
	Grant(ctx context.Context, id string) (Grant, error)
	// UpdateGrant replaces the grant of this id if it still has g.Version. ErrConflict, ErrNotFound.
	UpdateGrant(ctx context.Context, g Grant) (Grant, error)
	// GrantsOf lists the grants of a user at a client that have not expired, oldest first; any client if clientUID is empty.
	GrantsOf(ctx context.Context, userUID, clientUID string) ([]Grant, error)

	// Consent reads one. ErrNotFound.
	Consent(ctx context.Context, userUID, clientUID string) (Consent, error)
	// PutConsent creates it if Version is empty (ErrExists), else replaces that version (ErrConflict, ErrNotFound).
	PutConsent(ctx context.Context, c Consent) (Consent, error)
	// Consented reports whether the consent of the user to the client is there and has this UID.
	// None has an empty one.
	Consented(ctx context.Context, userUID, clientUID, consentUID string) (bool, error)
	// DeleteConsent removes it, which withdraws it; nil if there is none. The grants that rest on
	// it are ended (EndReason ConsentWithdrawn) by the store, at the next Sweep at the latest,
	// however the consent was removed.
	DeleteConsent(ctx context.Context, userUID, clientUID string) error

	// Mark sets a mark. Setting it again is no error and takes no further place; of two times the later one counts. ErrFull at one of the
	// bounds of BoundsOf. They hold over all replicas, but for what several of them write at the same moment.
	Mark(ctx context.Context, m Mark) error
	// Marked says whether a mark is set and has not expired.
	Marked(ctx context.Context, kind MarkKind, id string) (bool, error)
	// MarksOf counts the marks of a kind that hold and are a user's, up to a limit. Marks that another replica has just set may not be
	// counted yet.
	MarksOf(ctx context.Context, kind MarkKind, userUID string, limit int) (int, error)

	// Sweep removes records that have expired at now, and returns how many.
	Sweep(ctx context.Context, now time.Time) (int, error)

	// OnEnd has each grant told of that the store ended by itself: at the bound of a pair, or because its consent was deleted by hand. Tell is
	// called once it has ended, and must return soon.
	OnEnd(tell func(ctx context.Context, g Grant))
}

// Endings tells of grants that a store ended by itself; a store embeds it. The zero value tells nobody.
type Endings struct {
	tell atomic.Pointer[func(context.Context, Grant)]
}

// OnEnd implements Store.
func (e *Endings) OnEnd(tell func(ctx context.Context, g Grant)) { e.tell.Store(&tell) }

// Tell of a grant that has ended.
func (e *Endings) Tell(ctx context.Context, g Grant) {
	if tell := e.tell.Load(); tell != nil {
		(*tell)(ctx, g)
	}
}
