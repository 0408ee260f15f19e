package documents

import "strings"

// CanonicalIdentifier is the one form of a resource identifier (RFC 8707 section 2) by which it is
// claimed and looked up: without the slash of an empty path, since https://h and https://h/ are one
// resource (RFC 3986 section 6.2.3). Nothing else is changed: tokens have the identifier as it was
// registered, and APIs compare strings.
func CanonicalIdentifier(uri string) string {
	scheme, rest, found := strings.Cut(uri, "://")
	if !found || strings.ContainsAny(scheme, ":/?#") {
		return uri // the slashes are not those that begin an authority
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
