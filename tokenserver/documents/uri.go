package documents

import (
	"net/url"
	"slices"
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

// reserved are the parameters of an authorization response (RFC 6749 sections 4.1.2, 4.1.2.1 and
// 4.2.2, RFC 9207, OpenID Connect, JARM). A redirect URI with one of them in its query would have
// it twice, or have it where it is left out of the response.
var reserved = []string{
	"code", "state", "iss", "error", "error_description", "error_uri", "id_token", "response", "access_token", "token_type", "expires_in", "scope",
}

// ClassifyRedirect says what a redirect URI leads to: for RedirectWeb and RedirectLoopback also the host, in lower case and without port and
// brackets, and for RedirectPrivateUse the scheme. It is strict: what two parsers could read differently is RedirectInvalid.
func ClassifyRedirect(uri string) (kind RedirectKind, hostOrScheme string) {
	u, err := url.Parse(uri)
	if err != nil || u.User != nil || u.Fragment != "" || strings.ContainsFunc(uri, notInURI) || answers(u.RawQuery) {
		return RedirectInvalid, ""
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		if scheme, _, _ := strings.Cut(uri, ":"); u.Scheme == scheme && PrivateUseScheme(scheme) {
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

// answers says whether a query has a parameter of an authorization response, or may be read as if it had one: some split at semicolons.
func answers(rawQuery string) bool {
	query, err := url.ParseQuery(rawQuery)
	return err != nil || slices.ContainsFunc(reserved, query.Has)
}
