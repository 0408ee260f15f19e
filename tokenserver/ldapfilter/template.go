// Package ldapfilter has the filters with which a directory is searched for users and their groups,
// as an IdentityProvider has them: LDAP filters (RFC 4515) with variables such as $(username). The
// manager checks them to find mistakes, and the token server fills them in at each sign-in. The
// package is pure.
//
//	template.go  Template: a filter, and filling it in
//	parse.go     the grammar of RFC 4515, with variables
//	provider.go  Provider: all filters and names in the settings of a directory
package ldapfilter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Variables of filters.
const (
	// Username is what the user typed.
	Username = "username"
	// DN is the name of the entry of the user.
	DN = "dn"
	// AttributePrefix begins the variable of an attribute of the entry of the user.
	AttributePrefix = "attr."
)

// Template is a filter in which variables stand for assertion values, or for parts of them. It has
// been parsed, so whatever a variable stands for, it is compared, and never changes the filter.
type Template struct {
	root *node
}

// node is a filter of RFC 4515 section 3: a list of filters, or one assertion.
type node struct {
	set      byte // '&', '|' or '!'; 0 for an assertion
	children []*node

	attribute string // empty only beside a matching rule
	operator  string // what is between the attribute and the value
	value     []part
}

// part is a part of an assertion value: text as it is in the filter, or a variable.
type part struct {
	text, variable string
}

// Variables returns the names of the variables of the filter, sorted.
func (t *Template) Variables() []string {
	var names []string
	t.root.each(func(n *node) {
		for _, p := range n.value {
			if p.variable != "" {
				names = append(names, p.variable)
			}
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

func (n *node) each(visit func(*node)) {
	visit(n)
	for _, child := range n.children {
		child.each(visit)
	}
}

// Fill returns the filter with a value for each variable, which may be any bytes. It fails if there is
// no value for one, or an empty one.
func (t *Template) Fill(values map[string]string) (string, error) {
	var filled strings.Builder
	if err := t.root.write(&filled, values); err != nil {
		return "", err
	}
	return filled.String(), nil
}

func (n *node) write(to *strings.Builder, values map[string]string) error {
	to.WriteByte('(')
	if n.set != 0 {
		to.WriteByte(n.set)
		for _, child := range n.children {
			if err := child.write(to, values); err != nil {
				return err
			}
		}
	} else {
		to.WriteString(n.attribute + n.operator)
		for _, p := range n.value {
			if p.variable == "" {
				to.WriteString(p.text)
				continue
			}
			value := values[p.variable]
			if value == "" {
				return fmt.Errorf("there is no value for $(%s)", p.variable)
			}
			to.WriteString(ldap.EscapeFilter(value))
		}
	}
	to.WriteByte(')')
	return nil
}

// WithoutUsername returns the filter that finds the user whom this one has found, and whose username
// is not known any more: instead of being compared with the username, the attribute only has to be
// there. The filter finds at least what this one does: Provider refuses $(username) in a negation.
func (t *Template) WithoutUsername() *Template {
	return &Template{t.root.withoutUsername()}
}

func (n *node) withoutUsername() *node {
	if slices.Contains(n.value, part{variable: Username}) {
		attribute := n.attribute
		if strings.HasPrefix(n.operator, ":dn:") { // the attribute may be in the name of the entry alone
			attribute = "objectClass"
		}
		return &node{attribute: attribute, operator: "=", value: []part{{text: "*"}}}
	}
	loose := *n
	loose.children = make([]*node, 0, len(n.children))
	for _, child := range n.children {
		loose.children = append(loose.children, child.withoutUsername())
	}
	return &loose
}

// And returns the filter that is true where all of some filters are, of which empty ones are left out.
func And(filters ...string) string {
	filters = slices.DeleteFunc(filters, func(f string) bool { return f == "" })
	if len(filters) == 1 {
		return filters[0]
	}
	return "(&" + strings.Join(filters, "") + ")"
}
