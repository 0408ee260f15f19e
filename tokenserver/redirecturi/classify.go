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
	if host == "" || u.Opaque != "" || strings.ContainsAny(host, "%*@") {
		return Invalid, ""
	}
	if isLoopbackHost(host) {
		return Loopback, host
	}
	if u.Scheme == "https" {
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
