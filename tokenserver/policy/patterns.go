package policy

import (
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// matchesPattern reports whether a value is one of the patterns, or begins with one that ends in
// "*".
func matchesPattern(patterns []string, value string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if prefix, wild := strings.CutSuffix(p, "*"); wild {
			return strings.HasPrefix(value, prefix)
		}
		return p == value
	})
}

// allowsClientID reports whether a client of a namespace may have an id. Ids that begin with the
// client's namespace and a dot are always allowed. Those that begin with another DNS label and a
// dot need a pattern that begins so too, whether or not there is a namespace of that name: the
// patterns
// * and shop* do not match shop.web.
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
		return strings.HasPrefix(strings.TrimSuffix(p, "*"), beginning) && matchesPattern([]string{p}, id)
	})
}

// isDNSLabel reports whether s is a DNS label (RFC 1123 section 2.1), as names of namespaces are.
func isDNSLabel(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// matchesIdentifier reports whether a resource identifier is one of the patterns, in either
// spelling of an empty path (RFC 3986 section 6.2.3), or matches "*" or one with "*." in place of
// the first label of its host.
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

// allowsScheme reports whether patterns allow a client redirect URIs with a private-use scheme. "*"
// matches schemes with a dot. A scheme without a dot, which RFC 8252 section 7.1 advises against,
// may belong to several applications. So a pattern must name it, and the client must be one whose
// codes are useless to another application, and whose users see the consent page.
func allowsScheme(patterns []string, scheme string, c documents.Client) bool {
	if strings.Contains(scheme, ".") {
		return slices.Contains(patterns, scheme) || slices.Contains(patterns, documents.Any)
	}
	return slices.Contains(patterns, scheme) && requiresPKCEAndConsent(c)
}

// requiresPKCEAndConsent reports whether a client is public and gets tokens only for codes with
// PKCE to which the user has consented.
func requiresPKCEAndConsent(c documents.Client) bool {
	return c.AuthMethod == oauth.AuthMethodNone && c.PKCE == documents.PKCERequired && c.Consent == documents.ConsentRequired &&
		!slices.Contains(c.GrantTypes, oauth.GrantImplicit)
}

// matchesHost reports whether a host is one of the patterns, or matches "*" or one with "*." in
// place of its first label.
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
