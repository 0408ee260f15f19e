package ldap

import (
	"errors"
	"fmt"
	"slices"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/oauth-operator/oauth-operator/tokenserver/ldapfilter"
)

// maxGroups is how many groups of a user are read.
const maxGroups = 1000

// noAttributes asks for entries alone (RFC 4511 section 4.5.1.8).
const noAttributes = "1.1"

// errNotOne is returned by findUser where there is not exactly one entry, and errNone, which wraps it,
// where there is none.
var (
	errNotOne = errors.New("ldap.users.filter and ldap.users.accountFilter do not find exactly one entry")
	errNone   = fmt.Errorf("%w, but none", errNotOne)
)

// search searches. An answer that is incomplete is an error: the size limit is exceeded, or there is
// more elsewhere.
func (d *Directory) search(conn *connection, request *goldap.SearchRequest) ([]*goldap.Entry, error) {
	request.DerefAliases, request.EnforceSizeLimit, request.TimeLimit = goldap.NeverDerefAliases, true, int(timeout/time.Second)
	result, err := conn.Search(request)
	code, answered := resultCode(err)
	switch {
	case errors.Is(err, goldap.ErrSizeLimitExceeded), answered && code == goldap.LDAPResultSizeLimitExceeded:
		return nil, &Error{Incomplete, fmt.Errorf("there are more entries than %d, or than the directory returns at once", request.SizeLimit)}
	case answered && code == goldap.LDAPResultReferral, err == nil && len(result.Referrals) > 0:
		return nil, &Error{Referral, errors.New("the directory refers to another one, for a part of what is below the base DN")}
	case answered && isUnavailable(code), err != nil && !answered:
		return nil, away(err)
	case answered:
		return nil, &Error{SearchRefused, fmt.Errorf("a search is answered with %s", describe(code))}
	}
	return result.Entries, nil
}

// userSearch returns the search for the entry of one user. A second entry is asked for, so that it is
// noticed.
func (d *Directory) userSearch(filter string) *goldap.SearchRequest {
	attributes := append([]string{d.document.SubjectAttribute}, d.document.LDAP.Users.Attributes...)
	attributes = append(attributes, d.settings.Attributes()...)
	if name := d.document.LDAP.Users.PasswordChangedAttribute; name != "" {
		attributes = append(attributes, name)
	}
	slices.Sort(attributes)
	return &goldap.SearchRequest{
		BaseDN: d.document.LDAP.Users.BaseDN, Scope: goldap.ScopeWholeSubtree, SizeLimit: 2, Filter: filter, Attributes: slices.Compact(attributes),
	}
}

// findUser returns the entry of the user whom a filter finds, or errNotOne. A name that is empty would
// be that of an anonymous bind (RFC 4513 section 5.1.1), which every password passes.
func (d *Directory) findUser(conn *connection, filter string) (*goldap.Entry, error) {
	entries, err := d.search(conn, d.userSearch(filter))
	var failed *Error
	switch {
	case errors.As(err, &failed) && failed.Reason == Incomplete:
		return nil, errNotOne
	case err != nil:
		return nil, err
	case len(entries) == 0:
		return nil, errNone
	case len(entries) > 1:
		return nil, errNotOne
	}
	if dn, err := goldap.ParseDN(entries[0].DN); err != nil || len(dn.RDNs) == 0 {
		return nil, fmt.Errorf("%w: its name is no DN", errNotOne)
	}
	return entries[0], nil
}

// groups returns the names of the groups of a user, sorted. A group without a name is an error, as is
// all else that would make them fewer.
func (d *Directory) groups(conn *connection, user *goldap.Entry) ([]string, error) {
	values := map[string]string{ldapfilter.DN: user.DN}
	for _, name := range d.settings.Attributes() {
		all := user.GetEqualFoldAttributeValues(name)
		if len(all) != 1 {
			return nil, &Error{Incomplete, fmt.Errorf("the entry of the user has %d values of %s, which the filter of the groups needs one of", len(all), name)}
		}
		values[ldapfilter.AttributePrefix+name] = all[0]
	}
	filter, err := d.settings.Groups.Fill(values)
	if err != nil {
		return nil, &Error{Incomplete, fmt.Errorf("filling in the filter of the groups: %w", err)}
	}
	settings := d.document.LDAP.Groups
	request := &goldap.SearchRequest{BaseDN: settings.BaseDN, Scope: goldap.ScopeWholeSubtree, SizeLimit: maxGroups, Filter: filter, Attributes: []string{settings.NameAttribute}}
	if settings.OneLevel {
		request.Scope = goldap.ScopeSingleLevel
	}
	if settings.NameAttribute == ldapfilter.NameOfDN {
		request.Attributes = []string{noAttributes}
	}
	entries, err := d.search(conn, request)
	if err != nil {
		return nil, fmt.Errorf("searching the groups: %w", err)
	}
	names := []string{}
	for _, entry := range entries {
		of := []string{entry.DN}
		if settings.NameAttribute != ldapfilter.NameOfDN {
			of = entry.GetEqualFoldAttributeValues(settings.NameAttribute)
		}
		if len(of) == 0 || slices.Contains(of, "") {
			return nil, &Error{Incomplete, fmt.Errorf("a group has no %s", settings.NameAttribute)}
		}
		names = append(names, of...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
