// Package redirecturi compares and classifies the redirect URIs of clients, and adds to them.
//
//	match.go     which registered URI a requested one matches
//	classify.go  what a URI leads to: a web server, this machine or an application
//	schemes.go   the URI schemes that belong to no application
//	append.go    a URI with the parameters of a response
package redirecturi

import "strings"

// Match returns the registered URI that a requested redirect URI is, and reports whether there is
// one. URIs are compared as strings (RFC 6749 section 3.1.2.3, RFC 9700 section 4.1.3), with one
// exception: where a registered http URI has a loopback IP literal as its host, the port of the
// request is free (RFC 8252 section 7.3). The exception does not include localhost, since that name
// may resolve to something else (RFC 8252 section 8.3).
func Match(registered []string, requested string) (registeredURI string, ok bool) {
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

// loopbackOrigins are the only spellings of a loopback address whose port is free.
var loopbackOrigins = []string{"http://127.0.0.1", "http://[::1]"}

// cutLoopbackPort cuts the port out of an http URI with a loopback IP literal, and returns what
// precedes and what follows it. It works on the string, not on a parsed URL, because a parser may
// find another host in the URI than the browser does.
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
		if strings.ContainsFunc(rest, isForbidden) {
			return "", "", false
		}
		return origin, rest, true
	}
	return "", "", false
}

// isPort reports whether digits are a port from 1 to 65535 without leading zeros.
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
