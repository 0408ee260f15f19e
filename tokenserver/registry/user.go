package registry

import (
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

// User is a user that may be served now. It is immutable: the caller must not change its claims.
//
// A user from elsewhere has no document of its own: package users makes one from the user's record,
// with the subject as UID and the incarnation of the record as epoch.
type User struct {
	documents.User
	// ProviderName is the name of the IdentityProvider where the user signs in, and ProviderUID its
	// UID. Those of an OAuthUser are documents.LocalProvider and empty.
	ProviderName string
	ProviderUID  string
	// AllClients is that of the provider's document.
	AllClients bool
	// MaxAge is how long after a sign-in its session and the refresh tokens of its grants still
	// work; zero: as long as they last.
	MaxAge time.Duration
}

// SignInEndsAt returns when the user has to sign in at the identity provider again, by its maxAge;
// false: never.
func (u *User) SignInEndsAt(signedInAt time.Time) (time.Time, bool) {
	return signedInAt.Add(u.MaxAge), u.MaxAge > 0
}

// Groups returns the groups in the claim "groups", if that is a list; what is no string is none.
func (u *User) Groups() []string {
	list, _ := u.Claims["groups"].([]any)
	var groups []string
	for _, item := range list {
		if group, ok := item.(string); ok {
			groups = append(groups, group)
		}
	}
	return groups
}

// UserByUID returns the user with a UID; false if there is none, if it is suspended, or if it does
// not own both its names, which callers need not tell apart.
func (r *Registry) UserByUID(uid string) (*User, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.findUser(uid)
}

// LookUpLogin returns what to verify a password against, for a username as it was typed. The name
// is the username in its normal form, or as it was typed if it has none. If there is no such user,
// or the user is suspended or has no password, user is nil and hash is a dummy: no password matches
// it, and verifying it costs as much as verifying a user's.
func (r *Registry) LookUpLogin(username string) (name string, user *User, hash string) {
	name, err := password.NormalizeUsername(username)
	if err != nil {
		name = username
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if err == nil {
		u, ok := r.findUser(r.ownerOf(SpaceUsername, name))
		if ok && u.Username == name && u.PasswordHash != "" {
			return name, u, u.PasswordHash
		}
	}
	key := ""
	if r.server != nil {
		key = r.server.document.UID
	}
	return name, nil, r.hashCosts.pickDummy(key, name)
}

// findUser is UserByUID for a caller that holds the lock.
func (r *Registry) findUser(uid string) (*User, bool) {
	u := r.users[uid]
	if u == nil || u.document.Suspended || !r.ownsName(SpaceIdentity, u.document.Subject, uid) || !r.ownsName(SpaceUsername, u.document.Username, uid) {
		return nil, false
	}
	return &User{User: u.document, ProviderName: documents.LocalProvider}, true
}
