package documents

import (
	"net/netip"
	"strings"
)

// MatchRedirect says which registered URI a requested redirect URI is, if any. Comparison is by exact string (RFC 6749 section 3.1.2.3, RFC
// 9700 section 4.1.3), but for one thing: where a registered http URI has a loopback IP literal as its host, the port of the request is free
// (RFC 8252 section 7.3). localhost never gets that freedom, since its name may resolve to something else (RFC 8252 section 8.3).
//
// The answer is the registered URI and not the index, so that a flow can keep a reference to what was registered; the requested URI is where
// the browser goes.
func MatchRedirect(registered []string, requested string) (registeredURI string, ok bool) {
	for _, r := range registered {
		if r == requested {
			return r, true
		}
	}
	before, after, loopback := cutLoopbackPort(requested)
	if !loopback {
		return "", false
	}
	for _, r := range registered {
		if b, a, l := cutLoopbackPort(r); l && b == before && a == after {
			return r, true
		}
	}
	return "", false
}

// loopbackOrigins are the beginnings of a URI whose port is free. No other spelling of a loopback address is.
var loopbackOrigins = []string{"http://127.0.0.1", "http://[::1]"}

// cutLoopbackPort takes the port out of an http URI with a loopback IP literal: what stands before it, and after it. It works on the string,
// as the comparison does, so that no parser's view of what a host is can differ from the browser's.
func cutLoopbackPort(uri string) (before, after string, ok bool) {
	for _, origin := range loopbackOrigins {
		rest, found := strings.CutPrefix(uri, origin)
		if !found {
			continue
		}
		if port, has := strings.CutPrefix(rest, ":"); has {
			digits := len(port) - len(strings.TrimLeft(port, "0123456789"))
			if !isPort(port[:digits]) {
				return "", "", false
			}
			rest = port[digits:]
		}
		if rest != "" && rest[0] != '/' && rest[0] != '?' {
			return "", "", false
		}
		if strings.ContainsFunc(rest, notInURI) {
			return "", "", false
		}
		return origin, rest, true
	}
	return "", "", false
}

// isPort says whether digits are a port from 1 to 65535 as it is usually written.
func isPort(digits string) bool {
	if digits == "" || len(digits) > 5 || digits[0] == '0' {
		return false
	}
	n := 0
	for _, d := range []byte(digits) {
		n = n*10 + int(d-'0')
	}
	return n <= 65535
}

// notInURI says whether r cannot be in a redirect URI: not in the characters of RFC 3986, or the sign that begins a fragment.
func notInURI(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"<>\\^`{|}#", r)
}

// PublicRedirect says whether a redirect URI leads to whatever program listens on this machine, rather than to a host that proved its name
// with a certificate: a loopback or private-use URI (RFC 8252 sections 7.1 and 7.3). A code sent there silently could go to any of them (RFC
// 8252 section 8.6).
func PublicRedirect(uri string) bool {
	kind, _ := ClassifyRedirect(uri)
	return kind != RedirectWeb
}

// Loopback says whether a host, without port and brackets, is this machine: localhost or a loopback IP literal.
func Loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
