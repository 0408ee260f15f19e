package userinfo

import (
	"errors"
	"mime"
	"net/http"
	"regexp"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// b64token is the syntax of a bearer token (RFC 6750 section 2.1).
var b64token = regexp.MustCompile(`^[A-Za-z0-9\-._~+/]+=*$`)

// parseBearerToken returns the access token in the Authorization header or, for a POST, in the
// form; "" if there is none. It refuses a token in the URL, since URLs are written to logs and
// histories (RFC 9700 section 4.3.2), and two tokens (RFC 6750 section 2).
func parseBearerToken(r *http.Request) (string, *oauth.Error) {
	if err := oauth.RefuseInQuery(r, "access_token"); err != nil {
		return "", toProtocolError(err)
	}
	headers := r.Header.Values("Authorization")
	posted, err := parseFormToken(r)
	switch {
	case err != nil:
		return "", err
	case len(headers) > 1, len(headers) == 1 && posted != "":
		return "", oauth.Errorf(oauth.InvalidRequest, "the access token was sent more than once")
	case len(headers) == 0:
		return posted, nil
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, oauth.TokenTypeBearer) {
		return "", nil
	}
	token = strings.Trim(token, " ")
	if !b64token.MatchString(token) {
		return "", oauth.Errorf(oauth.InvalidRequest, "the Authorization header holds no bearer token")
	}
	return token, nil
}

// parseFormToken returns the access token in the form of a POST. A body with another content type
// has none.
func parseFormToken(r *http.Request) (string, *oauth.Error) {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method != http.MethodPost || mediaType != oauth.FormType {
		return "", nil
	}
	form, err := oauth.ParseForm(r, true)
	if err != nil {
		return "", toProtocolError(err)
	}
	return form.Get("access_token"), nil
}

// toProtocolError returns the *oauth.Error for parameters that cannot be parsed.
func toProtocolError(err error) *oauth.Error {
	var known *oauth.Error
	if errors.As(err, &known) {
		return known
	}
	return oauth.Errorf(oauth.InvalidRequest, "the parameters cannot be read").WithCause(err)
}

// challenge returns the challenge of a response with status 401 (RFC 6750 section 3).
func challenge(issuer string) string { return `Bearer realm="` + issuer + `"` }

// withChallenge adds to an error the challenge with the same code and description (RFC 6750 section
// 3). A description has no character that would end the quoted string.
func withChallenge(issuer string, err *oauth.Error) *oauth.Error {
	value := challenge(issuer) + `, error="` + err.Code + `"`
	if err.Description != "" {
		value += `, error_description="` + err.Description + `"`
	}
	if err.Code == oauth.InsufficientScope {
		value += `, scope="` + oauth.ScopeOpenID + `"`
	}
	return err.WithHeader("WWW-Authenticate", value)
}
