// Package users knows the users of a server: the OAuthUsers, which are in the registry, and those
// from elsewhere, who have signed in at an identity provider.
//
//	users.go    Users, which looks a user up
//	subject.go  the subjects of users from elsewhere
package users

import (
	"context"

	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// Users looks users up. All fields are required.
type Users struct {
	Registry *registry.Registry
}

// ByUID returns the user with a UID; false if there is none, or none that is served now. After an
// error that is not known, and what rests on the user has not ended.
func (u *Users) ByUID(_ context.Context, uid string) (*registry.User, bool, error) {
	user, ok := u.Registry.UserByUID(uid)
	return user, ok, nil
}
