package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// MaxIdentitiesPerServer bounds the identities of a server. One more is refused with ErrFull.
	MaxIdentitiesPerServer = 100_000
	// IdentityRetention is how long after the last sign-in an identity is kept. Those of which a
	// grant lives, or about which a spec says something, are kept longer.
	IdentityRetention = 30 * 24 * time.Hour
)

// Identity is what is known about a user who signs in at an identity provider. It contains no token
// and no code of the provider, and nothing about the user in the clear but the claims that the
// provider's mapping makes.
type Identity struct {
	// Subject is the sub of the user, and identifies the record.
	Subject string
	// Version is as in Grant.
	Version string
	// Incarnation is set by the store when it creates the identity, and kept by updates. One that
	// is created again has another, so that nothing that was issued before is good again.
	Incarnation string

	// ProviderUID and ProviderName are those of the IdentityProvider where the user signed in last.
	ProviderUID, ProviderName string
	// Claims are the mapped claims, as JSON decodes them, and ClaimsAt is when the provider said
	// so. Older claims never replace newer ones.
	Claims   map[string]any
	ClaimsAt time.Time
	// LastSignIn may be up to a day earlier than the last sign-in.
	LastSignIn time.Time
	// AllowHash is the hash of the provider's condition that the user has met.
	AllowHash string
	// PasswordChanged is a hash of what the directory said when the password was changed last.
	PasswordChanged string
	// SealedSubject is the subject at the directory, sealed, by which it is asked again.
	SealedSubject string
	// Endings counts how often all that was issued to the user ended, because of what the directory
	// said.
	Endings int64
}

// MarshalClaims returns the claims as a JSON object, or nil if there are none.
func (i Identity) MarshalClaims() ([]byte, error) {
	if len(i.Claims) == 0 {
		return nil, nil
	}
	encoded, err := json.Marshal(i.Claims)
	if err != nil {
		return nil, fmt.Errorf("encoding the claims of an identity: %w", err)
	}
	return encoded, nil
}

// UnmarshalClaims sets the claims to what MarshalClaims has returned.
func (i *Identity) UnmarshalClaims(encoded []byte) error {
	i.Claims = nil
	if len(encoded) == 0 {
		return nil
	}
	if err := json.Unmarshal(encoded, &i.Claims); err != nil {
		return fmt.Errorf("decoding the claims of an identity: %w", err)
	}
	if len(i.Claims) == 0 {
		i.Claims = nil
	}
	return nil
}

// IsIdle reports whether the last sign-in is so long ago at now that the identity is removed if
// nothing else needs it.
func (i Identity) IsIdle(now time.Time) bool { return now.Sub(i.LastSignIn) >= IdentityRetention }

// IdentityStore keeps identities. It is part of Store, with the same errors.
type IdentityStore interface {
	// GetIdentity is that of Reader.
	GetIdentity(ctx context.Context, subject string) (Identity, error)
	// CreateIdentity creates i, with an incarnation of the store's. It returns ErrExists if there
	// is one with the subject, which the caller is to read instead, and ErrFull if the provider has
	// maxOfProvider identities or the server MaxIdentitiesPerServer. Creations at the same moment
	// may exceed these by their number.
	CreateIdentity(ctx context.Context, i Identity, maxOfProvider int) (Identity, error)
	// UpdateIdentity replaces the identity with the subject of i if it still has the version of i,
	// and claims that are no newer. It returns ErrConflict or ErrNotFound otherwise.
	UpdateIdentity(ctx context.Context, i Identity) (Identity, error)
	// CountIdentities returns how many identities a provider has. What another replica has just
	// created may be missing.
	CountIdentities(ctx context.Context, providerUID string) (int, error)
	// SetIdentitySpecs sets the function that reports whether the owner of the server has said
	// something about a subject. Sweep removes no identity before it is set.
	SetIdentitySpecs(has func(subject string) bool)
}

// IdentitySpecs implements Store.SetIdentitySpecs for stores that embed it.
type IdentitySpecs struct {
	has atomic.Pointer[func(subject string) bool]
}

// SetIdentitySpecs implements Store.
func (s *IdentitySpecs) SetIdentitySpecs(has func(subject string) bool) { s.has.Store(&has) }

// HasSpec calls the function set by SetIdentitySpecs. Before it is set, every subject may have a
// spec.
func (s *IdentitySpecs) HasSpec(subject string) bool {
	has := s.has.Load()
	return has == nil || (*has)(subject)
}
