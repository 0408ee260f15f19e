package redirecturi

import (
	"net/url"
	"strings"
)

// AppendQuery returns a redirect URI with parameters added to its query. What the query has already
// stays as it is (RFC 6749 section 3.1.2).
func AppendQuery(uri string, parameters url.Values) string {
	separator := "?"
	switch {
	case len(parameters) == 0, strings.HasSuffix(uri, "?"), strings.HasSuffix(uri, "&"):
		separator = ""
	case strings.Contains(uri, "?"):
		separator = "&"
	}
	return uri + separator + parameters.Encode()
}
