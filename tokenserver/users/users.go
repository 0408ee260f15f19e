// Package users knows the users of a server: the OAuthUsers, which are in the registry, and those
// from elsewhere, who have signed in at an identity provider.
//
//	users.go    Users, which looks a user up
//	subject.go  the subjects of users from elsewhere
package users
