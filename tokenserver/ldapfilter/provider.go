package ldapfilter

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// NameOfDN as the NameAttribute of groups stands for the DN of the group.
const NameOfDN = "dn"

// recycled are attributes whose values may come to belong to another person, so that none of them
// can be what identifies a user.
var recycled = []string{
	"cn", "displayname", "distinguishedname", "dn", "entrydn", "gecos", "givenname", "homedirectory", "krbprincipalname", "mail", "proxyaddresses",
	"samaccountname", "sn", "uid", "uidnumber", "userid", "userprincipalname",
}

// secret are attributes with passwords or their hashes, which are none of this server's business.
var secret = []string{
	"2.5.4.35", "authpassword", "dbcspwd", "ipanthash", "krbprincipalkey", "lmpwdhistory", "ms-mcs-admpwd", "mslaps-encryptedpassword", "mslaps-password",
	"ntpwdhistory", "passwordhistory", "pwdhistory", "sambalmpassword", "sambantpassword", "sambapasswordhistory", "supplementalcredentials",
	"unicodepwd", "userpassword",
}

// Provider are the settings of a directory, parsed.
type Provider struct {
	// Host and Port are those of the URL. IsTLS is true of ldaps.
	Host, Port string
	IsTLS      bool
	// Users finds the user who typed a username, and Account is what the entry has to match as well,
	// or empty.
	Users   *Template
	Account string
	// Groups finds the groups of a user; nil if there are none.
	Groups *Template
}

// NewProvider returns the settings of a directory. Its errors join a line for each mistake, which
// begins with the field, below the spec of an IdentityProvider.
func NewProvider(l documents.LDAPProvider, subjectAttribute string) (*Provider, error) {
	c := &checker{}
	p := &Provider{}
	c.url(p, l)
	c.dn("ldap.bind.dn", l.BindDN)
	c.dn("ldap.users.baseDN", l.Users.BaseDN)
	p.Users = c.filter("ldap.users.filter", l.Users.Filter)
	if p.Users != nil {
		c.usersFilter(p.Users)
	}
	if l.Users.AccountFilter != "" {
		if account := c.filter("ldap.users.accountFilter", l.Users.AccountFilter); account != nil {
			if len(account.Variables()) > 0 {
				c.add("ldap.users.accountFilter", "has a variable: it says what the entries of all users have in common")
			}
			p.Account = l.Users.AccountFilter
		}
	}
	for i, name := range l.Users.Attributes {
		field := fmt.Sprintf("ldap.users.attributes[%d]", i)
		c.attribute(field, name)
		if slices.Contains(secret, strings.ToLower(baseName(name))) {
			c.add(field, "is "+name+", which has passwords or their hashes: this server reads none, and the account that searches should not be able to")
		}
	}
	c.attribute("ldap.users.subjectAttribute", subjectAttribute)
	if slices.Contains(recycled, strings.ToLower(baseName(subjectAttribute))) {
		c.add("ldap.users.subjectAttribute", "is "+subjectAttribute+", which another person may get later: name one that stays with its entry, "+
			"such as entryUUID, objectGUID, ipaUniqueID or nsUniqueId")
	}
	if l.Users.PasswordChangedAttribute != "" {
		c.attribute("ldap.users.passwordChangedAttribute", l.Users.PasswordChangedAttribute)
	}
	if l.Groups != (documents.LDAPGroups{}) {
		p.Groups = c.groups(l.Groups)
	}
	return p, errors.Join(c.mistakes...)
}

type checker struct{ mistakes []error }

func (c *checker) add(field, mistake string) {
	c.mistakes = append(c.mistakes, errors.New(field+" "+mistake))
}

// url checks the URL (RFC 4516), of which only scheme, host and port are used. A password goes over
// TLS, unless it stays on the machine.
func (c *checker) url(p *Provider, l documents.LDAPProvider) {
	const field = "ldap.url"
	u, err := url.Parse(l.URL)
	if err != nil || u.Scheme != "ldap" && u.Scheme != "ldaps" || u.Hostname() == "" || u.User != nil || u.Opaque != "" ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		c.add(field, "is not ldaps://<host>, ldaps://<host>:<port>, or the same with ldap")
		return
	}
	p.Host, p.Port, p.IsTLS = u.Hostname(), u.Port(), u.Scheme == "ldaps"
	if p.Port == "" {
		p.Port = map[bool]string{true: ldap.DefaultLdapsPort, false: ldap.DefaultLdapPort}[p.IsTLS]
	}
	if number, err := strconv.ParseUint(p.Port, 10, 16); err != nil || number == 0 || strings.HasSuffix(u.Host, ":") {
		c.add(field, "has a port that is not a number from 1 to 65535")
	}
	address, err := netip.ParseAddr(p.Host)
	isLoopback := err == nil && address.IsLoopback()
	switch {
	case p.IsTLS && l.StartTLS:
		c.add("ldap.startTLS", "is for ldap://: a connection to ldaps:// begins with TLS")
	case !p.IsTLS && !l.StartTLS && !isLoopback:
		c.add(field, "is ldap://, which sends passwords in the clear: use ldaps:// or startTLS; only the loopback addresses "+
			net.IPv4(127, 0, 0, 1).String()+" and [::1] need neither")
	}
}

func (c *checker) dn(field, value string) {
	switch dn, err := ldap.ParseDN(value); {
	case err != nil:
		c.add(field, fmt.Sprintf("%q is not a DN, such as ou=people,dc=example,dc=com: %q", value, err.Error()))
	case len(dn.RDNs) == 0:
		c.add(field, "is empty")
	default:
		for _, rdn := range dn.RDNs {
			for _, a := range rdn.Attributes {
				if !attributePattern.MatchString(a.Type) {
					c.add(field, fmt.Sprintf("%q is not a DN: %q is not the name of an attribute", value, a.Type))
					return
				}
			}
		}
	}
}

func (c *checker) attribute(field, name string) {
	if !attributePattern.MatchString(name) {
		c.add(field, fmt.Sprintf("%q is not the name of an attribute", name))
	}
}

func (c *checker) filter(field, text string) *Template {
	t, err := Parse(text)
	if err != nil {
		c.add(field, err.Error())
		return nil
	}
	return t
}

// usersFilter checks that the filter compares something with the username, and does so where it
// still makes sense to ask only whether the attribute is there (WithoutUsername).
func (c *checker) usersFilter(t *Template) {
	const field = "ldap.users.filter"
	switch variables := t.Variables(); {
	case !slices.Contains(variables, Username):
		c.add(field, "has no $(username), so it finds the same entries whatever a user types: (uid=$(username))")
	case len(variables) > 1:
		c.add(field, "has $("+variables[0]+"), but there is no entry yet: $(username) is the only variable here")
	}
	t.root.each(func(n *node) {
		switch {
		case n.set == '!' && slices.Contains((&Template{n}).Variables(), Username):
			c.add(field, "has $(username) behind !, where it finds everybody else")
		case n.attribute == "" && slices.Contains(n.value, part{variable: Username}):
			c.add(field, "compares $(username) with all attributes: name one")
		}
	})
}

// groups checks the settings of groups. What a user typed is no part of them: directories ignore case
// and spaces, which would then decide about groups, and later searches do not know it any more.
func (c *checker) groups(g documents.LDAPGroups) *Template {
	const field = "ldap.groups.filter"
	c.dn("ldap.groups.baseDN", g.BaseDN)
	if g.NameAttribute != NameOfDN {
		c.attribute("ldap.groups.nameAttribute", g.NameAttribute)
	}
	t := c.filter(field, g.Filter)
	if t == nil {
		return nil
	}
	switch variables := t.Variables(); {
	case slices.Contains(variables, Username):
		c.add(field, "has $(username), which may be any spelling that finds the user: use an attribute of the entry, such as $(attr.uid)")
	case len(variables) == 0:
		c.add(field, "has neither $(dn) nor $(attr.<attribute>), so all users would have the same groups: (member=$(dn))")
	}
	return t
}

// Attributes returns the attributes of the user's entry that Groups needs.
func (p *Provider) Attributes() []string {
	if p.Groups == nil {
		return nil
	}
	var names []string
	for _, variable := range p.Groups.Variables() {
		if name := attributeOf(variable); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// baseName returns an attribute description without its options.
func baseName(attribute string) string {
	name, _, _ := strings.Cut(attribute, ";")
	return name
}
