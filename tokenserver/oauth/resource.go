package oauth

import "strings"

// MaxResources is how many resources a request may name (RFC 8707). It bounds the work for a
// request and the size of a token.
const MaxResources = 16

// CanonicalResource returns the form of a resource identifier (RFC 8707 section 2) under which it
// is registered and looked up: without the slash of an empty path, since https://h and https://h/
// are one resource (RFC 3986 section 6.2.3). It changes nothing else: tokens contain the identifier
// as it was registered, and APIs compare strings.
func CanonicalResource(uri string) string {
	scheme, rest, found := strings.Cut(uri, "://")
	if !found || strings.ContainsAny(scheme, ":/?#") {
		return uri // these slashes do not begin an authority
	}
	end := strings.IndexAny(rest, "/?#")
	if end <= 0 || rest[end] != '/' {
		return uri
	}
	after := rest[end+1:]
	if after != "" && after[0] != '?' && after[0] != '#' {
		return uri
	}
	return scheme + "://" + rest[:end] + after
}
