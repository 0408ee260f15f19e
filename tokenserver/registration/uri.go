package registration

import (
	"net/url"
	"strings"
)

// RedirectKind is what a redirect URI leads to.
type RedirectKind int

const (
	// RedirectInvalid: not a redirect URI that is ever allowed.
	RedirectInvalid RedirectKind = iota
	// RedirectWeb: https, to a host that a certificate names.
	RedirectWeb
	// RedirectLoopback: http or https, to this machine (RFC 8252 section 7.3).
	RedirectLoopback
	// RedirectPrivateUse: a private-use scheme (RFC 8252 section 7.1).
	RedirectPrivateUse
)

// ClassifyRedirect says what a redirect URI leads to: for RedirectWeb and RedirectLoopback also the host, in lower case and without port and
// brackets, and for RedirectPrivateUse the scheme. It is strict: what two parsers could read differently is RedirectInvalid.
func ClassifyRedirect(uri string) (kind RedirectKind, hostOrScheme string) {
	u, err := url.Parse(uri)
	if err != nil || u.User != nil || u.Fragment != "" || strings.ContainsFunc(uri, notInURI) {
		return RedirectInvalid, ""
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		if scheme, _, _ := strings.Cut(uri, ":"); u.Scheme == scheme && strings.Contains(scheme, ".") {
			return RedirectPrivateUse, scheme
		}
		return RedirectInvalid, ""
	}
	host := strings.ToLower(u.Hostname())
	if host == "" || u.Opaque != "" || strings.ContainsAny(host, "%*@") {
		return RedirectInvalid, ""
	}
	if Loopback(host) {
		return RedirectLoopback, host
	}
	if u.Scheme == "https" {
		return RedirectWeb, host
	}
	return RedirectInvalid, ""
}
