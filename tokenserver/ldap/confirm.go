package ldap

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/oauth-operator/oauth-operator/tokenserver/ldapfilter"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
)

// Confirm implements users.Directories.
func (d *Directories) Confirm(ctx context.Context, provider *registry.IdentityProvider, subject []byte) (users.Answer, error) {
	directory, err := d.Of(provider.IdentityProvider)
	if err != nil {
		return users.Answer{}, err
	}
	entry, err := directory.Confirm(ctx, subject)
	if errors.Is(err, ErrGone) {
		return users.Answer{}, users.ErrGone
	}
	return users.Answer{Upstream: entry.Upstream, PasswordChanged: entry.PasswordChanged}, err
}

// Confirm returns what the directory says now of a user who has signed in before. It finds the user by
// the subject, under the filters of SignIn, but for what the user typed then. It returns ErrGone if
// there is no such user any more, and another error if that is not known.
func (d *Directory) Confirm(ctx context.Context, subject []byte) (Entry, error) {
	const value = ldapfilter.AttributePrefix + "subject"
	bySubject, err := ldapfilter.Parse("(" + d.document.SubjectAttribute + "=$(" + value + "))")
	if err != nil {
		return Entry{}, fmt.Errorf("the subject attribute %w", err)
	}
	filter, err := bySubject.Fill(map[string]string{value: string(subject)})
	if err != nil {
		return Entry{}, err
	}
	others, err := d.settings.Users.WithoutUsername().Fill(nil)
	if err != nil {
		return Entry{}, err
	}
	leave, err := d.confirmations.enter(ctx)
	if err != nil {
		return Entry{}, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	entry, err := d.confirm(ctx, ldapfilter.And(filter, others, d.settings.Account))
	if err == nil && !bytes.Equal(entry.Subject, subject) {
		err = &Error{Incomplete, errors.New("the directory returns another user")}
	}
	return entry, d.note(err)
}

func (d *Directory) confirm(ctx context.Context, filter string) (Entry, error) {
	reader, err := d.openAsReader(ctx)
	if err != nil {
		return Entry{}, err
	}
	defer reader.close()
	found, err := d.findUser(reader, filter)
	switch {
	case errors.Is(err, errNone):
		return Entry{}, ErrGone
	case errors.Is(err, errNotOne):
		return Entry{}, &Error{Incomplete, err}
	case err != nil:
		return Entry{}, err
	}
	return d.newEntry(reader, found)
}
