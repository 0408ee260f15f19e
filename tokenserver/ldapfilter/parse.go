package ldapfilter

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

const (
	// maxFilter is the size of the largest filter, in bytes.
	maxFilter = 4096
	// maxDepth is how deep filters are nested.
	maxDepth = 16
)

var (
	// attributePattern is of an attribute description (RFC 4512 section 2.5).
	attributePattern = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9-]*|[0-9]+(\.[0-9]+)+)(;[A-Za-z0-9-]+)*$`)
	// rulePattern is of what is between the attribute and := of an extensible match.
	rulePattern = regexp.MustCompile(`^(:dn)?(:([A-Za-z][A-Za-z0-9-]*|[0-9]+(\.[0-9]+)+))?$`)
)

// Parse parses a filter.
func Parse(filter string) (*Template, error) {
	switch {
	case filter == "":
		return nil, errors.New("is empty")
	case len(filter) > maxFilter:
		return nil, fmt.Errorf("has more than %d bytes", maxFilter)
	case !utf8.ValidString(filter):
		return nil, errors.New("is not UTF-8")
	}
	p := &parser{text: filter}
	root, err := p.filter(0)
	if err != nil {
		return nil, err
	}
	if p.at < len(filter) {
		return nil, fmt.Errorf("goes on after its last parenthesis: %s", p.excerpt())
	}
	t := &Template{root}
	return t, t.checkLibrary()
}

// checkLibrary checks that the LDAP library, which encodes the filter for the directory, reads it too.
func (t *Template) checkLibrary() error {
	values := map[string]string{}
	for _, name := range t.Variables() {
		values[name] = "x"
	}
	filled, err := t.Fill(values)
	if err != nil {
		return err
	}
	if packet, err := ldap.CompileFilter(filled); err != nil || packet == nil {
		return errors.New("is not an LDAP filter")
	}
	return nil
}

type parser struct {
	text string
	at   int
}

// excerpt returns what comes next.
func (p *parser) excerpt() string {
	rest := p.text[p.at:]
	if rest == "" {
		return "the end"
	}
	if len(rest) > 20 {
		rest = strings.ToValidUTF8(rest[:20], "")
	}
	return strconv.Quote(rest)
}

// filter parses one filter in parentheses.
func (p *parser) filter(depth int) (*node, error) {
	if depth == maxDepth {
		return nil, fmt.Errorf("is nested more than %d deep", maxDepth)
	}
	if !p.skip("(") {
		return nil, fmt.Errorf("needs an opening parenthesis before: %s", p.excerpt())
	}
	var n *node
	var err error
	if p.at < len(p.text) && strings.IndexByte("&|!", p.text[p.at]) >= 0 {
		n, err = p.filters(depth)
	} else {
		n, err = p.assertion()
	}
	if err != nil {
		return nil, err
	}
	if !p.skip(")") {
		return nil, fmt.Errorf("needs a closing parenthesis before: %s", p.excerpt())
	}
	return n, nil
}

func (p *parser) skip(prefix string) bool {
	if !strings.HasPrefix(p.text[p.at:], prefix) {
		return false
	}
	p.at += len(prefix)
	return true
}

// filters parses what is behind &, | or !. A list without filters is true of all entries or of none
// (RFC 4526), which is a mistake here.
func (p *parser) filters(depth int) (*node, error) {
	n := &node{set: p.text[p.at]}
	p.at++
	for p.at < len(p.text) && p.text[p.at] != ')' {
		child, err := p.filter(depth + 1)
		if err != nil {
			return nil, err
		}
		n.children = append(n.children, child)
	}
	switch {
	case len(n.children) == 0:
		return nil, fmt.Errorf("has no filter behind %c", n.set)
	case n.set == '!' && len(n.children) > 1:
		return nil, errors.New("has behind ! more than one filter")
	}
	return n, nil
}

// assertion parses an attribute, an operator and a value.
func (p *parser) assertion() (*node, error) {
	rest := p.text[p.at:]
	equals := strings.IndexByte(rest, '=')
	if end := strings.IndexAny(rest, "()"); equals < 0 || end >= 0 && end < equals {
		return nil, fmt.Errorf("has no attribute and = before: %s", p.excerpt())
	}
	head, operator := rest[:equals], "="
	if equals > 0 && strings.IndexByte("<>~:", rest[equals-1]) >= 0 {
		head, operator = rest[:equals-1], rest[equals-1:equals+1]
	}
	n := &node{attribute: head, operator: operator}
	if operator == ":=" {
		if colon := strings.IndexByte(head, ':'); colon >= 0 {
			n.attribute, n.operator = head[:colon], head[colon:]+operator
		}
		if rule := strings.TrimSuffix(n.operator, ":="); !rulePattern.MatchString(rule) || n.attribute == "" && strings.TrimPrefix(rule, ":dn") == "" {
			return nil, fmt.Errorf("has no matching rule that RFC 4515 allows: %q", head)
		}
	}
	if !attributePattern.MatchString(n.attribute) && (n.attribute != "" || operator != ":=") {
		return nil, fmt.Errorf("has %q where the name of an attribute is expected", n.attribute)
	}
	p.at += equals + 1
	var err error
	n.value, err = p.value(operator == "=")
	return n, err
}

// value parses an assertion value, up to the closing parenthesis. Asterisks are those of an equality
// alone, where they make it a match of substrings or of presence.
func (p *parser) value(asterisks bool) ([]part, error) {
	var parts []part
	begin := p.at
	text := func() {
		if p.at > begin {
			parts = append(parts, part{text: p.text[begin:p.at]})
		}
	}
	for p.at < len(p.text) {
		rest := p.text[p.at:]
		switch {
		case rest[0] == ')':
			text()
			return parts, nil
		case strings.HasPrefix(rest, "$("):
			text()
			name, _, ok := strings.Cut(rest[2:], ")")
			if !ok || name != Username && name != DN && !attributePattern.MatchString(attributeOf(name)) {
				return nil, fmt.Errorf("has a variable that is none of $(username), $(dn) and $(attr.<attribute>): %s", p.excerpt())
			}
			parts = append(parts, part{variable: name})
			p.at += len("$()") + len(name)
			begin = p.at
			continue
		case rest[0] == '\\':
			if len(rest) < 3 || !isHex(rest[1]) || !isHex(rest[2]) {
				return nil, fmt.Errorf(`has a \ without two hexadecimal digits: %s`, p.excerpt())
			}
			p.at += 2
		case rest[0] == '(', rest[0] == 0, rest[0] == '*' && !asterisks:
			return nil, fmt.Errorf(`has a character in a value that must be written \%02x: %s`, rest[0], p.excerpt())
		}
		p.at++
	}
	return nil, errors.New("needs a closing parenthesis at the end")
}

// attributeOf returns the attribute of a variable; empty if it is none of an attribute.
func attributeOf(variable string) string {
	attribute, ok := strings.CutPrefix(variable, AttributePrefix)
	if !ok {
		return ""
	}
	return attribute
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
