package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// admits says whether a rule is for a namespace. Labels nil means that nothing is known of the namespace: then no selector matches, not even
// one that asks for the absence of a label.
func admits(n documents.Namespaces, namespace string, labels map[string]string) bool {
	switch {
	case n.All:
		return true
	case n.Selector != nil:
		return labels != nil && selects(*n.Selector, labels)
	default:
		return slices.Contains(n.Names, namespace)
	}
}

// selects says whether all requirements hold, as Kubernetes means them: NotIn holds too where the label is missing.
func selects(s documents.Selector, labels map[string]string) bool {
	for key, want := range s.MatchLabels {
		if got, has := labels[key]; !has || got != want {
			return false
		}
	}
	for _, r := range s.MatchExpressions {
		if !holds(r, labels) {
			return false
		}
	}
	return true
}

// describe a selector as kubectl takes it (--selector).
func describe(s documents.Selector) string {
	var terms []string
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		terms = append(terms, key+"="+s.MatchLabels[key])
	}
	for _, r := range s.MatchExpressions {
		switch r.Operator {
		case "Exists":
			terms = append(terms, r.Key)
		case "DoesNotExist":
			terms = append(terms, "!"+r.Key)
		default:
			terms = append(terms, r.Key+" "+strings.ToLower(r.Operator)+" ("+strings.Join(r.Values, ",")+")")
		}
	}
	return strings.Join(terms, ",")
}

func holds(r documents.Requirement, labels map[string]string) bool {
	value, has := labels[r.Key]
	switch r.Operator {
	case "In":
		return has && slices.Contains(r.Values, value)
	case "NotIn":
		return !has || !slices.Contains(r.Values, value)
	case "Exists":
		return has
	case "DoesNotExist":
		return !has
	}
	return false
}

// matchesPrefix says whether one of the patterns is the value, a prefix of it that ends in "*", or "*".
func matchesPrefix(patterns []string, value string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if prefix, wild := strings.CutSuffix(p, "*"); wild {
			return strings.HasPrefix(value, prefix)
		}
		return p == value
	})
}

// allowsClientID reports whether a client of a namespace may have an id. Ids that begin with "<own
// namespace>." are the client's own. Those that begin like another namespace's own ids need a
// pattern that names that beginning, whether or not the namespace exists: the patterns * and shop*
// do not stand for shop.web.
func allowsClientID(patterns []string, namespace, id string) bool {
	label, _, dotted := strings.Cut(id, ".")
	if dotted && label == namespace {
		return true
	}
	beginning := ""
	if dotted && isDNSLabel(strings.ToLower(label)) {
		beginning = label + "."
	}
	return slices.ContainsFunc(patterns, func(p string) bool {
		return strings.HasPrefix(strings.TrimSuffix(p, "*"), beginning) && matchesPrefix([]string{p}, id)
	})
}

// isDNSLabel reports whether s could be the name of a namespace (RFC 1123 section 2.1).
func isDNSLabel(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// matchesIdentifier reports whether one of the patterns is the resource identifier, in either
// spelling of an empty path (RFC 3986 section 6.2.3), or "*", or has "*." in place of the first
// label of its host.
func matchesIdentifier(patterns []string, identifier string) bool {
	identifier = oauth.CanonicalResource(identifier)
	return slices.ContainsFunc(patterns, func(p string) bool {
		p = oauth.CanonicalResource(p)
		if p == documents.Any || p == identifier {
			return true
		}
		scheme, suffix, wild := strings.Cut(p, "://*.")
		rest, sameScheme := strings.CutPrefix(identifier, scheme+"://")
		if !wild || !sameScheme {
			return false
		}
		label, rest, dotted := strings.Cut(rest, ".")
		return dotted && rest == suffix && isDNSLabel(strings.ToLower(label))
	})
}

// allowsScheme reports whether a rule lets a client have redirect URIs of a private-use scheme. "*"
// stands for those that contain a dot. One without a dot could be any application's (RFC 8252
// section 7.1 would have none), so the rule has to name it, and the client has to be one whose
// codes are of no use to another application and whose user is asked.
func allowsScheme(patterns []string, scheme string, c documents.Client) bool {
	if strings.Contains(scheme, ".") {
		return slices.Contains(patterns, scheme) || slices.Contains(patterns, documents.Any)
	}
	return slices.Contains(patterns, scheme) && askedAndBound(c)
}

// askedAndBound reports whether a client is public, gets tokens for codes with PKCE only, and only when the user consents.
func askedAndBound(c documents.Client) bool {
	return c.AuthMethod == oauth.AuthMethodNone && c.PKCE == documents.PKCERequired && c.Consent == documents.ConsentRequired &&
		!slices.Contains(c.GrantTypes, oauth.GrantImplicit)
}

// matchesHost says whether one of the patterns is the host, "*." before what follows the host's first label, or "*".
func matchesHost(patterns []string, host string) bool {
	_, parent, _ := strings.Cut(host, ".")
	return slices.ContainsFunc(patterns, func(p string) bool {
		if p == documents.Any {
			return true
		}
		if suffix, wild := strings.CutPrefix(p, "*."); wild {
			return parent != "" && suffix == parent && !strings.HasPrefix(host, ".")
		}
		// An IPv6 literal has brackets in a rule, as in a URI, and none in a host.
		return strings.Trim(p, "[]") == host
	})
}
