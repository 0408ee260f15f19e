// Package users knows the users of a server: the OAuthUsers, which are in the registry, and those
// from elsewhere, of whom the store has a record since they signed in at an identity provider.
//
//	users.go    Users, which looks a user up
//	signin.go   the sign-in of a user from elsewhere, and its record
//	limiter.go  how many users a provider may bring for the first time
//	metrics.go  counters
//	subject.go  the subjects of users from elsewhere
//
// The subject of a user from elsewhere is the user's UID too, and the epoch is that of the
// incarnation of the record: what was issued for a record that is gone is never good again, although
// the same person has the same subject.
package users

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Users looks users up, and records the sign-ins at identity providers. All fields but Metrics are
// required.
type Users struct {
	Registry *registry.Registry
	Store    storage.IdentityStore
	Keys     *keys.Set
	Now      func() time.Time
	Log      *slog.Logger
	Metrics  *Metrics

	firstSignIns limiter
}

// ByUID returns the user with a UID; false if there is none, or none that is served now. After an
// error that is not known, and what rests on the user has not ended.
func (u *Users) ByUID(ctx context.Context, uid string) (*registry.User, bool, error) {
	if !strings.HasPrefix(uid, oauth.IdentityPrefix) {
		user, ok := u.Registry.UserByUID(uid)
		return user, ok, nil
	}
	if spec, ok := u.Registry.Identity(uid); ok && spec.Suspended {
		return nil, false, nil
	}
	i, err := u.Store.GetIdentity(ctx, uid)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("reading the identity of a user: %w", err)
	}
	provider, ok := u.Registry.IdentityProviderByUID(i.ProviderUID)
	if !ok || provider.Suspended {
		return nil, false, nil
	}
	if provider.NotAccepted {
		return nil, false, notAccepted(provider)
	}
	if i.AllowHash != provider.Mapping.AllowHash() {
		return nil, false, nil // allow was changed since; the user may not meet it any more
	}
	return newUser(provider, i), true, nil
}

// notAccepted returns the error for users of a provider that has a mistake. The document of before is
// not kept, since the edit may have been meant to let fewer users in.
func notAccepted(p *registry.IdentityProvider) error {
	return fmt.Errorf("%w: the identity provider %s is not accepted", registry.ErrNotServing, p.Name)
}

// epochOf returns the epoch of a user: another one once the record was created again, or the password
// was changed at the directory. Users who change a stolen password and sign in end what was issued to
// the thief.
func epochOf(i storage.Identity) string {
	if i.PasswordChanged == "" {
		return i.Incarnation
	}
	sum := sha256.Sum256([]byte(i.Incarnation + " " + i.PasswordChanged))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// newUser returns the user of a record.
func newUser(p *registry.IdentityProvider, i storage.Identity) *registry.User {
	user := &registry.User{
		User:         documents.User{UID: i.Subject, Subject: i.Subject, Epoch: epochOf(i), Claims: i.Claims},
		ProviderName: p.Name, ProviderUID: p.UID, AllClients: p.AllClients,
	}
	user.Username, _ = i.Claims["preferred_username"].(string)
	if p.OIDC != nil {
		user.MaxAge = p.OIDC.MaxAge.Duration()
	}
	return user
}
