package storage

import (
	"slices"
	"time"
)

// Bounds on live grants. Those that tokensNotBefore voids do not count.
const (
	// MaxGrantsPerUserAndClient bounds the live grants of a user to a client. One more ends the
	// oldest.
	MaxGrantsPerUserAndClient = 20
	// MaxGrantsPerServer bounds the live grants of a server. One more is refused with ErrFull.
	MaxGrantsPerServer = 100_000
)

// EndedRetention is how long an ended grant is kept. It is longer than any authorization code
// lives, so that the second use of a code is detected. A token whose grant is gone is not active.
const EndedRetention = 15 * time.Minute

// Reasons for which a grant ends.
const (
	EndCodeReuse         = "CodeReuse"
	EndRefreshTokenReuse = "RefreshTokenReuse"
	EndRevoked           = "Revoked"
	EndConsentWithdrawn  = "ConsentWithdrawn"
	// EndBound is for the oldest grant at MaxGrantsPerUserAndClient.
	EndBound = "Bound"
)

// Reasons for which a session ends. Its grants do not end: at every use they are refused.
const (
	EndLogout = "Logout"
	// EndSessionReplaced is for a session during which another user has logged in.
	EndSessionReplaced = "SessionReplaced"
)

// Grant is one authorization of a user to a client, by a code or by a password.
type Grant struct {
	// ID is chosen by the caller of CreateGrant. For a code it is derived from the code, so that a
	// second use collides.
	ID string
	// Version is set by the store. An update must present the version that was read.
	Version string
	// Incarnation is random, and part of every token of the grant, so that a grant that is created
	// again under the id does not revive the tokens of the first.
	Incarnation string
	// Attempt is the id of the request that wrote the grant last. It tells the request after
	// ErrAmbiguous whether its write has happened.
	Attempt string

	ClientUID string
	ClientID  string
	UserUID   string
	Subject   string
	// UserEpoch is the epoch of the user when the grant was created. It changes with the password.
	UserEpoch string
	// SessionHash is the hash of the session's root. It is empty for the password grant.
	SessionHash string
	// AuthTime is when the user authenticated, for auth_time; zero: the identity provider did not
	// say.
	AuthTime time.Time
	AMR      []string
	// ProviderUID is the UID of the identity provider that the user signed in at, and SignedInAt is
	// when; empty and zero for an OAuthUser.
	ProviderUID string
	SignedInAt  time.Time

	// Scopes that were granted.
	Scopes []string
	// Resources of the request (RFC 8707). If it is empty, the scopes decide the audience.
	Resources []string
	// APIs are the ResourceServers that Scopes and Resources belong to. A scope or resource that
	// now belongs to another object under the same name is not part of the grant.
	APIs []API
	// Claims about the user that were granted one by one, beyond those that Scopes stand for
	// (OpenID Connect Core section 5.5).
	Claims []string
	// RedirectURI of the authorization request. The grant is refused once the client no longer
	// registers it. It is empty for the password grant.
	RedirectURI string
	// Nonce and ClaimsRequest of the authentication request (OpenID Connect Core sections 3.1.2.1
	// and 5.5).
	Nonce         string
	ClaimsRequest string

	// Consented reports whether the grant rests on the consent with ConsentUID, and ends with it.
	Consented  bool
	ConsentUID string
	// Offline reports whether the refresh token outlives the session (scope offline_access, or the
	// password grant).
	Offline bool
	// RefreshTokenNumber is the number of the current refresh token, counted from 1: a rotation
	// replaces it by the next. It is 0 if the grant has no refresh token.
	RefreshTokenNumber int64
	// RefreshTokenIssuedAt is when the current refresh token was issued, which begins the grace
	// period of its predecessor.
	RefreshTokenIssuedAt time.Time
	// SealingKID is the id of the key that seals the current refresh token.
	SealingKID string

	// CreatedAt is when the user authorized the grant: when its code was issued, which may be a
	// moment before the record was created, or when its password was verified.
	CreatedAt  time.Time
	LastUsedAt time.Time
	// RefreshUntil is when refreshing ends at the latest; zero: no refresh token.
	RefreshUntil time.Time
	// ExpiresAt is when the grant can authorize nothing any more, and is removed.
	ExpiresAt time.Time
	// EndedAt is when the grant was ended. It is kept until ExpiresAt, so that replays are
	// detected.
	EndedAt time.Time
	// EndReason is one of the reasons above, for people.
	EndReason string
}

// SignInTime returns when the user signed in here, whenever that was at an identity provider.
func (g Grant) SignInTime() time.Time {
	if g.SignedInAt.IsZero() {
		return g.AuthTime
	}
	return g.SignedInAt
}

// IsEnded reports whether the grant was ended.
func (g Grant) IsEnded() bool { return !g.EndedAt.IsZero() }

// IsLive reports whether the grant has neither ended nor expired at now.
func (g Grant) IsLive(now time.Time) bool { return !g.IsEnded() && now.Before(g.ExpiresAt) }

// End sets EndedAt and EndReason, and shortens ExpiresAt to EndedRetention from now.
func (g *Grant) End(now time.Time, reason string) {
	g.EndedAt, g.EndReason = now, reason
	if until := now.Add(EndedRetention); until.Before(g.ExpiresAt) {
		g.ExpiresAt = until
	}
}

// Clone returns a copy that shares no list with g.
func (g Grant) Clone() Grant {
	g.AMR, g.Scopes, g.Resources = slices.Clone(g.AMR), slices.Clone(g.Scopes), slices.Clone(g.Resources)
	g.APIs, g.Claims = cloneAPIs(g.APIs), slices.Clone(g.Claims)
	return g
}

// API is a ResourceServer object. One that is created again under the identifier has another UID.
type API struct {
	UID        string
	Identifier string
	// Scopes of this API, among the scopes of the record that contains it.
	Scopes []string
}

func cloneAPIs(apis []API) []API {
	apis = slices.Clone(apis)
	for i := range apis {
		apis[i].Scopes = slices.Clone(apis[i].Scopes)
	}
	return apis
}

// Consent is what a user has allowed a client until it is withdrawn.
type Consent struct {
	UserUID   string
	ClientUID string
	// UID is set by the store when it creates the consent, and kept by updates. A consent that is
	// given after a withdrawal has another.
	UID     string
	Version string // as in Grant

	Scopes []string
	Claims []string // allowed one by one
	APIs   []API    // with those of Scopes that belong to them

	GrantedAt time.Time
	UpdatedAt time.Time
}

// Clone returns a copy that shares no list with c.
func (c Consent) Clone() Consent {
	c.Scopes, c.Claims, c.APIs = slices.Clone(c.Scopes), slices.Clone(c.Claims), cloneAPIs(c.APIs)
	return c
}
