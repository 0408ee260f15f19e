package users

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/subjects"
)

var (
	// ErrDenied is returned for a user who may not sign in: allow of the provider says so or cannot
	// be evaluated, or the user or the provider is suspended.
	ErrDenied = errors.New("the user may not sign in")
	// ErrFull is returned for a user who signs in for the first time when the provider or the server
	// has as many users as it may have. Known users sign in.
	ErrFull = errors.New("there are too many users from identity providers")
)

const (
	// lastSignInInterval is how old LastSignIn becomes before a sign-in that changes nothing else is
	// stored.
	lastSignInInterval = 24 * time.Hour
	// maxClockSkew is how far the clocks of replicas may be apart. Claims from further in the future
	// are by a clock that is wrong, and must not keep newer ones out until then.
	maxClockSkew = time.Minute
	// maxTries is how often a sign-in tries to write its record, after conflicts with others of the
	// same user.
	maxTries = 16
)

// SignIn is what an identity provider says of a user who has just authenticated there.
type SignIn struct {
	Provider *registry.IdentityProvider
	// Subject is the value of the provider's subject attribute.
	Subject []byte
	// Upstream is what the mapping of the provider reads.
	Upstream map[string]any
	// PasswordChanged is that of Answer; empty of a provider that is no directory.
	PasswordChanged string
}

// SignIn returns the user of a sign-in, whom it records: at the first sign-in, when what is recorded
// has changed, and otherwise once a day. It returns ErrDenied, ErrFull or a *RateError; any other
// error means that the user has to try again.
//
// The provider is asked for as it is served now: it may have been changed since the user went there.
func (u *Users) SignIn(ctx context.Context, s SignIn) (*registry.User, error) {
	server, ok := u.Registry.Server()
	if !ok {
		return nil, registry.ErrNotServing
	}
	provider, ok := u.Registry.IdentityProviderByUID(s.Provider.UID)
	switch {
	case !ok || provider.Suspended:
		return nil, fmt.Errorf("%w: the identity provider is gone or suspended", ErrDenied)
	case provider.NotAccepted:
		return nil, notAccepted(provider)
	}
	subject, err := subjects.Derive(server.Issuer, provider.Type, provider.Realm, provider.SubjectAttribute, s.Subject)
	if err != nil {
		return nil, err
	}
	if spec, ok := u.Registry.Identity(subject); ok && spec.Suspended {
		return nil, fmt.Errorf("%w: the user is suspended", ErrDenied)
	}
	claims, err := u.mapClaims(ctx, provider, subject, s.Upstream)
	if err != nil {
		return nil, err
	}
	if err := u.Registry.CheckNotBefore("", subject, provider.UID); err != nil {
		return nil, err
	}
	now := u.Now()
	i := storage.Identity{
		Subject: subject, ProviderUID: provider.UID, ProviderName: provider.Name, Claims: claims, ClaimsAt: now, LastSignIn: now,
		AllowHash: provider.Mapping.AllowHash(), PasswordChanged: s.PasswordChanged,
	}
	if i.SealedSubject, err = u.sealSubject(provider, s.Subject); err != nil {
		return nil, err
	}
	recorded, err := u.record(ctx, provider, i)
	if err != nil {
		return nil, err
	}
	if provider.Type == documents.ProviderLDAP {
		u.confirmations.add(subject, now)
	}
	// Once a provider was compromised, the log alone says who has come from there.
	u.Log.InfoContext(ctx, "an identity provider has signed a user in", "provider", provider.Name, "sub", subject)
	return (&identity{recorded, provider}).user(), nil
}

// mapClaims returns the claims about the user, or ErrDenied.
func (u *Users) mapClaims(ctx context.Context, p *registry.IdentityProvider, subject string, upstream map[string]any) (map[string]any, error) {
	result, err := p.Mapping.Evaluate(upstream)
	switch {
	case err != nil:
		u.Log.WarnContext(ctx, "what an identity provider says of a user cannot be evaluated", "provider", p.Name, "sub", subject, "error", err.Error())
		return nil, fmt.Errorf("%w: %w", ErrDenied, err)
	case !result.Allowed:
		return nil, fmt.Errorf("%w: allow of the identity provider is false", ErrDenied)
	}
	u.Metrics.Add(p.Name, len(result.Errors))
	for _, failed := range result.Errors {
		u.Log.WarnContext(ctx, "a claim about a user is left out", "provider", p.Name, "sub", subject, "error", failed.Error())
	}
	return result.Claims, nil
}

// record writes what a sign-in found out, if that is due, and returns the record. Of several sign-ins
// of a user at once the first creates it, and the others adopt it.
func (u *Users) record(ctx context.Context, p *registry.IdentityProvider, found storage.Identity) (storage.Identity, error) {
	counted := false
	for range maxTries {
		known, err := u.readKnown(ctx, found.Subject)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			if !counted {
				if err := u.firstSignIns.add(p.UID, found.LastSignIn); err != nil {
					return storage.Identity{}, err
				}
				counted = true
			}
			created, err := u.Store.CreateIdentity(ctx, found, p.MaxIdentities)
			switch {
			case errors.Is(err, storage.ErrExists), errors.Is(err, storage.ErrAmbiguous):
				continue
			case errors.Is(err, storage.ErrFull):
				return storage.Identity{}, fmt.Errorf("%w: maxIdentities of the identity provider, or the bound of the server, is reached", ErrFull)
			}
			return created, err
		case err != nil:
			return storage.Identity{}, fmt.Errorf("reading the identity of a user: %w", err)
		}
		updated, err := u.update(ctx, known, found)
		if !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrNotFound) {
			return updated, err
		}
	}
	return storage.Identity{}, fmt.Errorf("recording the sign-in of a user: %w", storage.ErrConflict)
}

// readKnown reads a record to compare a sign-in with. If the store is away a recent one will do: with
// nothing to write the user signs in all the same.
func (u *Users) readKnown(ctx context.Context, subject string) (storage.Identity, error) {
	known, err := u.Store.GetIdentity(ctx, subject)
	if recent := storage.RecentReader(u.Store); errors.Is(err, storage.ErrUnavailable) && recent != storage.Reader(u.Store) {
		return recent.GetIdentity(ctx, subject)
	}
	return known, err
}

// update brings the record of a user who is known up to date. While the store is away, a user of whom
// nothing but the time is new signs in all the same.
func (u *Users) update(ctx context.Context, known, found storage.Identity) (storage.Identity, error) {
	switch ahead := known.ClaimsAt.Sub(found.ClaimsAt); {
	case ahead > maxClockSkew:
		found.ClaimsAt = known.ClaimsAt // stores refuse an earlier one
	case ahead > 0 && known.PasswordChanged != found.PasswordChanged:
		// With the epoch of the new password a thief who knew the old one would stay signed in.
		return storage.Identity{}, fmt.Errorf("%w: the password of the user was changed meanwhile", storage.ErrUnavailable)
	case ahead > 0:
		return known, nil // a later sign-in has been recorded, and all that it found out belongs together
	}
	found.Endings = known.Endings
	if known.PasswordChanged != "" && found.PasswordChanged != "" && known.PasswordChanged != found.PasswordChanged {
		u.Log.InfoContext(ctx, "the password of a user was changed: what was issued before ends", "provider", known.ProviderName, "sub", known.Subject)
		found.Endings++
	}
	changed, err := hasChanged(known, found)
	if err != nil {
		return storage.Identity{}, err
	}
	if !changed && found.LastSignIn.Sub(known.LastSignIn) < lastSignInInterval {
		return known, nil
	}
	found.Version, found.Incarnation = known.Version, known.Incarnation
	updated, err := u.Store.UpdateIdentity(ctx, found)
	if err != nil && !changed && !errors.Is(err, storage.ErrNotFound) {
		u.Log.WarnContext(ctx, "the last sign-in of a user is not recorded", "provider", known.ProviderName, "sub", known.Subject, "error", err.Error())
		return known, nil
	}
	return updated, err
}

// isLater reports whether what was found out at a time is later than at another, by clocks that may be
// apart. One that is further ahead is wrong.
func isLater(at, other time.Time) bool {
	ahead := at.Sub(other)
	return ahead > 0 && ahead <= maxClockSkew
}

// hasChanged reports whether a sign-in found out anything that the record does not say.
func hasChanged(known, found storage.Identity) (bool, error) {
	if known.ProviderUID != found.ProviderUID || known.ProviderName != found.ProviderName || known.AllowHash != found.AllowHash ||
		known.PasswordChanged != found.PasswordChanged || known.Endings != found.Endings || !isSealedAs(known, found) {
		return true, nil
	}
	before, err := known.MarshalClaims()
	if err != nil {
		return false, err
	}
	// As they are once they are stored: a number may be written in more than one way.
	encoded, err := found.MarshalClaims()
	if err != nil {
		return false, err
	}
	if err := found.UnmarshalClaims(encoded); err != nil {
		return false, err
	}
	after, err := found.MarshalClaims()
	return !bytes.Equal(before, after), err
}

// isSealedAs reports whether two records have the subject at the directory alike: there is none, or it
// is sealed with the same key.
func isSealedAs(known, found storage.Identity) bool {
	before, _, _ := strings.Cut(known.SealedSubject, ".")
	after, _, _ := strings.Cut(found.SealedSubject, ".")
	return before == after
}
