package registry

import (
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

// User is a user who may be served now. It is immutable; its claims must not be changed.
type User struct {
	documents.User
}

// UserByName is the user with this username, which must be in its normal form.
func (r *Registry) UserByName(normalized string) (*User, bool) {
	return r.findUser(SpaceUsername, normalized)
}

// Login is what a password is verified by, for a username as it was typed. The name is in its normal form, or as it came if it has none. User
// is nil if the name is nobody's, or a user's without a password; then no password fits the hash, which costs what a user's does.
func (r *Registry) LookUpLogin(username string) (name string, user *User, hash string) {
	name, err := password.NormalizeUsername(username)
	if err != nil {
		name = username
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if err == nil {
		u, ok := r.user(r.names[nameKey{SpaceUsername, name}].uid)
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

// UserBySubject is the user with this subject identifier.
func (r *Registry) UserBySubject(subject string) (*User, bool) {
	return r.findUser(SpaceIdentity, subject)
}

// UserByUID is the user with the UID of the object.
func (r *Registry) UserByUID(uid string) (*User, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.user(uid)
}

func (r *Registry) findUser(space, value string) (*User, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	u, ok := r.user(r.names[nameKey{space, value}].uid)
	// The owner of a claim may also be a client, or a user who has another name now.
	if !ok || space == SpaceUsername && u.Username != value || space == SpaceIdentity && u.Subject != value {
		return nil, false
	}
	return u, true
}

// user with this UID, if both its names are its own. The caller has the lock.
func (r *Registry) user(uid string) (*User, bool) {
	h := r.users[uid]
	if h == nil || !r.ownsName(SpaceIdentity, h.document.Subject, uid) || !r.ownsName(SpaceUsername, h.document.Username, uid) {
		return nil, false
	}
	return &User{h.document}, true
}
