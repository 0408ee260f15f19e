package ldap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldapfilter"
	"github.com/oauth-operator/oauth-operator/tokenserver/places"
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
	leave, err := d.confirmations.Enter(ctx, places.Request{})
	if err != nil {
		return Entry{}, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	entry, err := d.confirm(ctx, ldapfilter.And(filter, d.anyUser))
	if err == nil && !bytes.Equal(entry.Subject, subject) {
		err = &Error{Incomplete, errors.New("the directory returns another user")}
	}
	return entry, d.note(ctx, err)
}

// confirm returns ErrGone only if two addresses of the directory say so, where it has two that answer.
// One of them may have been restored in part, or be late.
func (d *Directory) confirm(ctx context.Context, filter string) (entry Entry, err error) {
	var asked netip.Addr
	err = d.asReader(ctx, func(conn *connection) (err error) {
		asked = conn.address
		entry, err = d.find(conn, filter)
		return err
	})
	if errors.Is(err, ErrGone) {
		err = d.confirmGone(ctx, filter, asked)
	}
	return entry, err
}

// confirmGone returns ErrGone if another address than the one that was asked does not have the user
// either, or if none can be reached, and otherwise why it is not known.
func (d *Directory) confirmGone(ctx context.Context, filter string, asked netip.Addr) error {
	select {
	case d.elsewhere.binding <- struct{}{}:
	case <-ctx.Done():
		return away(ctx.Err())
	}
	other, err := d.openReader(ctx, d.elsewhere, asked)
	<-d.elsewhere.binding
	answer := "it has the user"
	if err == nil {
		defer other.close()
		_, err = d.find(other.connection, filter)
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return away(ctx.Err())
	case errors.Is(err, ErrGone), isAway(err) && fetch.ReasonOf(err) == fetch.Unreachable: // also if there is no other
		return ErrGone
	default:
		answer = err.Error()
	}
	d.directories.Log.WarnContext(ctx, "a user gets no tokens until two addresses of a directory agree: one does not have the user",
		"provider", d.document.Name, "address", asked.String(), "other", answer)
	return &Error{Incomplete, errors.New("one address of the directory does not have the user, and another does not say so")}
}

// find returns what the directory says of the user whom a filter finds, or ErrGone.
func (d *Directory) find(conn *connection, filter string) (Entry, error) {
	found, err := d.findUser(conn, filter)
	switch {
	case errors.Is(err, errNone):
		if err := d.seesUsers(conn); err != nil {
			return Entry{}, err
		}
		return Entry{}, ErrGone
	case errors.Is(err, errNotOne):
		return Entry{}, &Error{Incomplete, err}
	case err != nil:
		return Entry{}, err
	}
	entry, err := d.newEntry(found)
	if err == nil {
		err = d.addGroups(conn, found, entry)
	}
	return entry, err
}
