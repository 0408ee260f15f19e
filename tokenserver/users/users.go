// Package users knows the users of a server: the OAuthUsers, which are in the registry, and those
// from elsewhere, of whom the store has a record since they signed in at an identity provider.
//
//	users.go    Users, which looks a user up
//	signin.go   the sign-in of a user from elsewhere, and its record
//	confirm.go  asking a directory about a user again
//	limiter.go  how many users a provider may bring for the first time
//	metrics.go  counters
//
// The subject of a user from elsewhere is the user's UID too, and the epoch is that of the
// incarnation of the record: what was issued for a record that is gone is never good again, although
// the same person has the same subject.
package users

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/providercount"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Users looks users up, and records the sign-ins at identity providers. All fields but Metrics and
// Directories are required.
type Users struct {
	Registry *registry.Registry
	Store    storage.Store
	Keys     *keys.Set
	Now      func() time.Time
	Log      *slog.Logger
	Metrics  *providercount.Counter
	// Directories is required if providers of type LDAP are served.
	Directories Directories

	firstSignIns  limiter
	asking        singleflight.Group
	confirmations confirmations
}

// ByUID returns the user with a UID; false if there is none, or none that is served now. After an
// error that is not known, and what rests on the user has not ended. The record of a user from elsewhere
// is read from the reader. The epoch is the one that the caller has, empty if any will do: that the user
// is not served, or has another epoch, is only said after asking the Store, since another replica may
// have just recorded a sign-in.
func (u *Users) ByUID(ctx context.Context, from storage.Reader, uid, epoch string) (*registry.User, bool, error) {
	if !strings.HasPrefix(uid, oauth.IdentityPrefix) {
		user, ok := u.Registry.UserByUID(uid)
		return user, ok, nil
	}
	i, err := u.findIdentity(ctx, from, uid)
	if isExpected := i != nil && i.hasPassed() && (epoch == "" || epoch == i.epoch()); err == nil && !isExpected && from != storage.Reader(u.Store) {
		i, err = u.findIdentity(ctx, u.Store, uid)
	}
	if i == nil || !i.hasPassed() {
		return nil, false, err
	}
	return i.user(), true, nil
}

// identity is the record of a user from elsewhere, whose provider is served.
type identity struct {
	storage.Identity
	provider *registry.IdentityProvider
}

// findIdentity returns the identity with a subject; nil if there is none, or if the owner of the server
// has suspended it or its provider, or the provider is gone.
func (u *Users) findIdentity(ctx context.Context, from storage.Reader, subject string) (*identity, error) {
	if spec, ok := u.Registry.Identity(subject); ok && spec.Suspended {
		return nil, nil
	}
	record, err := from.GetIdentity(ctx, subject)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the identity of a user: %w", err)
	}
	provider, ok := u.Registry.IdentityProviderByUID(record.ProviderUID)
	switch {
	case !ok || provider.Suspended:
		return nil, nil
	case provider.NotAccepted:
		return nil, notAccepted(provider)
	}
	return &identity{record, provider}, nil
}

// hasPassed reports whether the user has passed allow as it is now. If it was changed since, it may be
// that the user does not pass.
func (i *identity) hasPassed() bool { return i.AllowHash == i.provider.Mapping.AllowHash() }

// epoch returns the epoch of the user: another one once the record was created again, or all that was
// issued ended because of what the directory said.
func (i *identity) epoch() string {
	if i.Endings == 0 {
		return i.Incarnation
	}
	return fmt.Sprintf("%s.%d", i.Incarnation, i.Endings)
}

// user returns the user of the identity.
func (i *identity) user() *registry.User {
	user := &registry.User{
		User:         documents.User{UID: i.Subject, Subject: i.Subject, Epoch: i.epoch(), Claims: i.Claims},
		ProviderName: i.provider.Name, ProviderUID: i.provider.UID, AllClients: i.provider.AllClients,
	}
	user.Username, _ = i.Claims["preferred_username"].(string)
	if i.provider.OIDC != nil {
		user.MaxAge = i.provider.OIDC.MaxAge.Duration()
	}
	return user
}

// notAccepted returns the error for users of a provider that has a mistake. The document of before is
// not kept, since the edit may have been meant to let fewer users in.
func notAccepted(p *registry.IdentityProvider) error {
	return fmt.Errorf("%w: the identity provider %s is not accepted", registry.ErrNotServing, p.Name)
}
