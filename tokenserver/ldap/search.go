package ldap

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/oauth-operator/oauth-operator/tokenserver/ldapfilter"
)

// maxGroups is how many groups of a user are read.
const maxGroups = 1000

// noAttributes asks for entries alone (RFC 4511 section 4.5.1.8).
const noAttributes = "1.1"

// seesUsers returns nil if a search finds any user at all, and otherwise why none is found. What a
// directory that has lost its entries, or that shows them to the account no more, does not find, proves
// nothing.
func (d *Directory) seesUsers(conn *connection) error {
	request := d.userSearch(ldapfilter.And("("+d.document.SubjectAttribute+"=*)", d.anyUser))
	request.SizeLimit, request.Attributes = 1, []string{noAttributes}
	entries, err := d.search(conn, request)
	switch {
	case isIncomplete(err), err == nil && len(entries) > 0:
		return nil
	case err != nil:
		return err
	}
	return &Error{SearchRefused, errors.New("the account that searches finds no user at all")}
}

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
		conn.isBroken = !answered // more entries may come
		return nil, &Error{Incomplete, fmt.Errorf("there are more entries than %d, or than the directory returns at once", request.SizeLimit)}
	case answered && code == goldap.LDAPResultReferral, err == nil && len(result.Referrals) > 0:
		return nil, &Error{Referral, errors.New("the directory refers to another one, for a part of what is below the base DN")}
	case err != nil && !answered:
		return nil, conn.failed(err)
	case answered && isUnavailable(code):
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
	switch {
	case isIncomplete(err):
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
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		name, err := nameOf(entry, settings.NameAttribute)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// nameOf returns the name of a group. Of several values of the attribute, the one counts that is in the
// name of the entry: who may write the entry can add values, but neither remove nor change that one
// (RFC 4511 section 4.6).
func nameOf(group *goldap.Entry, attribute string) (string, error) {
	if attribute == ldapfilter.NameOfDN {
		return group.DN, nil
	}
	values := group.GetEqualFoldAttributeValues(attribute)
	if len(values) > 1 {
		named := distinguishedValues(group.DN, attribute)
		values = slices.DeleteFunc(values, func(v string) bool {
			return !slices.ContainsFunc(named, func(n string) bool { return strings.EqualFold(n, v) })
		})
	}
	if len(values) != 1 || values[0] == "" {
		return "", &Error{Incomplete, fmt.Errorf("a group has no %s, or several and none of them in its DN", attribute)}
	}
	return values[0], nil
}

// distinguishedValues returns the values of an attribute in the first part of a DN.
func distinguishedValues(dn, attribute string) (values []string) {
	parsed, err := goldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 {
		return nil
	}
	for _, a := range parsed.RDNs[0].Attributes {
		if strings.EqualFold(a.Type, attribute) {
			values = append(values, a.Value)
		}
	}
	return values
}
