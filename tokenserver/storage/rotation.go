package storage

import (
	"context"
	"time"
)

// Rotation replaces the current refresh token of a grant by the next, if the grant is as the Rotation
// says.
type Rotation struct {
	GrantID, Incarnation string
	ClientUID, ClientID  string
	// Number of the refresh token that is replaced.
	Number int64
	// LastUsedAfter is when the grant was last used at the earliest.
	LastUsedAfter time.Time

	// What the grant has afterwards, as in Grant. RefreshTokenIssuedAt and LastUsedAt are At.
	Attempt    string
	SealingKID string
	At         time.Time
	Expiry     Expiry
}

// Expiry is by what ExpiresAt of a grant is computed when its refresh token is used.
type Expiry struct {
	// IdleUntil is when the next refresh token ends, unless RefreshUntil of the grant is earlier.
	IdleUntil time.Time
	// Lag is for how long the grant is kept after the end of its refresh token.
	Lag time.Duration
	// CodeLag is for how long a grant is kept after CreatedAt, unless ExpiresAt was earlier.
	CodeLag time.Duration
}

// Of returns ExpiresAt for a grant.
func (e Expiry) Of(g Grant) time.Time {
	end := earlier(g.RefreshUntil, e.IdleUntil).Add(e.Lag)
	if code := earlier(g.ExpiresAt, g.CreatedAt.Add(e.CodeLag)); code.After(end) {
		end = code
	}
	return end
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Rotator is a Store for which a Rotation is one exchange, although the caller has not read the
// grant.
type Rotator interface {
	// Rotate returns the grant as it was and as it is now, and its Basis. It returns ErrConflict if
	// there is no grant that is as the Rotation says, if it has ended, or if its user signed in at an
	// identity provider; the caller has to read it to know. It returns errors.ErrUnsupported if
	// the Store is no Rotator after all.
	Rotate(ctx context.Context, r Rotation) (before, after Grant, basis Basis, err error)
}

// WithBasis returns a reader that knows what a grant rests on, and reads everything else from r.
func WithBasis(r Reader, g Grant, basis Basis) Reader { return basisReader{r, g, basis} }
