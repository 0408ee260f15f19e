package storage

import "context"

// Basis is what a grant rests on: its session, unless the grant is offline, and its consent, if it
// has one. It was read together with the grant.
type Basis struct {
	// SessionEnded reports whether the session is marked as ended.
	SessionEnded bool
	// ConsentExists reports whether the consent exists.
	ConsentExists bool
}

// CheckSession returns ErrSessionEnded if a grant that is to be created has a session, and it is marked as
// ended.
func CheckSession(ctx context.Context, r Reader, g Grant) error {
	if g.SessionHash == "" {
		return nil
	}
	ended, err := r.IsMarked(ctx, MarkSession, g.SessionHash)
	if err == nil && ended {
		return ErrSessionEnded
	}
	return err
}

// BasisReader is a Reader for which reading a grant and its Basis is one exchange. The Basis is nil
// if it was not read after all.
type BasisReader interface {
	GetGrantWithBasis(ctx context.Context, id string) (Grant, *Basis, error)
}

// GetGrantWithBasis is GetGrant for a caller that is about to use the grant. It returns a reader
// besides, which knows what the grant rests on if the store has read all of it in one exchange, and
// which is r otherwise.
func GetGrantWithBasis(ctx context.Context, r Reader, id string) (Grant, Reader, error) {
	together, ok := r.(BasisReader)
	if !ok {
		g, err := r.GetGrant(ctx, id)
		return g, r, err
	}
	g, basis, err := together.GetGrantWithBasis(ctx, id)
	if err != nil || basis == nil {
		return g, r, err
	}
	return g, WithBasis(r, g, *basis), nil
}

// basisReader is a Reader that knows what a grant rests on.
type basisReader struct {
	Reader
	grant Grant
	basis Basis
}

// HasConsent implements Reader.
func (r basisReader) HasConsent(ctx context.Context, userUID, clientUID, consentUID string) (bool, error) {
	g := r.grant
	if g.Consented && userUID == g.UserUID && clientUID == g.ClientUID && consentUID == g.ConsentUID {
		return r.basis.ConsentExists, nil
	}
	return r.Reader.HasConsent(ctx, userUID, clientUID, consentUID)
}

// IsMarked implements Reader.
func (r basisReader) IsMarked(ctx context.Context, kind MarkKind, id string) (bool, error) {
	if kind == MarkSession && !r.grant.Offline && id == r.grant.SessionHash {
		return r.basis.SessionEnded, nil
	}
	return r.Reader.IsMarked(ctx, kind, id)
}
