package redirecturi

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Kind is what a redirect URI leads to.
type Kind int

const (
	// Invalid is the kind of a URI that no client may register.
	Invalid Kind = iota
	// Web is the kind of an https URI to a host that proves its name with a certificate.
	Web
	// Loopback is the kind of an http or https URI to this machine (RFC 8252 section 7.3).
	Loopback
	// PrivateUse is the kind of a URI with a private-use scheme (RFC 8252 section 7.1).
	PrivateUse
)

// Classify returns the kind of a redirect URI and, for Web and Loopback, its host in lower case
// without port and brackets; for PrivateUse, its scheme. A URI that two parsers could read
// differently is Invalid.
func Classify(uri string) (kind Kind, hostOrScheme string) {
	u, err := url.Parse(uri)
	if err != nil || u.User != nil || u.Fragment != "" || strings.ContainsFunc(uri, isForbidden) || hasResponseParameter(u.RawQuery) {
		return Invalid, ""
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		if scheme, _, _ := strings.Cut(uri, ":"); u.Scheme == scheme && isPrivateUseScheme(scheme) {
			return PrivateUse, scheme
		}
		return Invalid, ""
	}
	host := strings.ToLower(u.Hostname())
	if host == "" || u.Opaque != "" || strings.ContainsAny(host, "%*@") || isDisguisedIPv4(host) {
		return Invalid, ""
	}
	switch https := u.Scheme == "https"; {
	case isLoopbackHost(host), https && leadsToLoopback(host):
		return Loopback, host
	case https:
		return Web, host
	}
	return Invalid, ""
}

// IsNative reports whether a redirect URI is one of a native application (RFC 8252 section 7), not
// of a host that proves its name with a certificate. Any program on the user's device may receive
// what is sent there (RFC 8252 section 8.6).
func IsNative(uri string) bool {
	kind, _ := Classify(uri)
	return kind != Web
}

// isLoopbackHost reports whether a host, without port and brackets, is localhost or a loopback IP
// literal.
func isLoopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// leadsToLoopback reports whether browsers connect to this machine for a host that isLoopbackHost
// does not know: a name below localhost (RFC 6761 section 6.3), or the unspecified address.
func leadsToLoopback(host string) bool {
	if strings.HasSuffix("."+strings.TrimSuffix(host, "."), ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.Unmap().IsLoopback() || ip.IsUnspecified())
}

// isDisguisedIPv4 reports whether browsers read a host as an IPv4 address that is not written as
// one: its last label is a number (URL Standard, "ends in a number"), as in 127.1 or 0x7f000001.
func isDisguisedIPv4(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	last := labels[len(labels)-1]
	hex, isHex := strings.CutPrefix(last, "0x")
	return isHex && strings.Trim(hex, "0123456789abcdef") == "" || last != "" && strings.Trim(last, "0123456789") == ""
}

// isForbidden reports whether a redirect URI cannot contain r: it is no character of RFC 3986, or
// begins a fragment.
func isForbidden(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"<>\\^`{|}#", r)
}

// responseParameters are the parameters of an authorization response (RFC 6749 sections 4.1.2,
// 4.1.2.1 and 4.2.2, RFC 9207, OpenID Connect, JARM). A redirect URI with one of them in its query
// would have it twice, or would have it where the response leaves it out.
var responseParameters = []string{
	"code", "state", "iss", "error", "error_description", "error_uri", "id_token", "response", "access_token", "token_type", "expires_in", "scope",
}

// hasResponseParameter reports whether a query has a parameter of an authorization response, or
// contains a semicolon, at which some parsers begin another parameter.
func hasResponseParameter(rawQuery string) bool {
	query, err := url.ParseQuery(rawQuery)
	return err != nil || slices.ContainsFunc(responseParameters, query.Has)
}
