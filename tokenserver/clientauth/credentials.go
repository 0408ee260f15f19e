package clientauth

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// credentials are what a request contains to authenticate its client. RFC 6749 section 2.3.1 has
// the client form-encode Basic credentials before it encodes them in base64, which many clients
// leave out. So an id or secret has two spellings if form-decoding changes it.
type credentials struct {
	method  string
	ids     []string
	secrets []string
	// assertion is the JWT with which the client authenticates instead; nil if there is none.
	assertion *assertion
}

// parseCredentials returns the credentials in a request. It refuses a request that uses two methods
// (RFC 6749 section 2.3).
func parseCredentials(r *http.Request, form oauth.Params) (credentials, *oauth.Error) {
	headers := r.Header.Values("Authorization")
	id, secret := form.Get("client_id"), form.Get("client_secret")
	methods := len(headers)
	for _, name := range []string{"client_secret", "client_assertion"} {
		if form.Has(name) {
			methods++
		}
	}
	switch {
	case methods > 1:
		return credentials{}, oauth.Errorf(oauth.InvalidRequest, "the client authenticates in more than one way; use one")
	case len(headers) == 1:
		return parseBasic(headers[0], id)
	case form.Has("client_assertion"):
		return parseAssertionParameters(form)
	case form.Has("client_assertion_type"):
		return credentials{}, oauth.Errorf(oauth.InvalidRequest, "client_assertion is missing")
	case id == "":
		return credentials{}, oauth.Errorf(oauth.InvalidClient, "the request says nothing about which client it is from")
	case secret != "":
		return credentials{method: oauth.AuthMethodSecretPost, ids: []string{id}, secrets: []string{secret}}, nil
	default:
		return credentials{method: oauth.AuthMethodNone, ids: []string{id}}, nil
	}
}

// parseAssertionParameters returns the assertion in a form (RFC 7521 section 4.2). What is not a JWT
// is an assertion without a good signature.
func parseAssertionParameters(form oauth.Params) (credentials, *oauth.Error) {
	switch form.Get("client_assertion_type") {
	case oauth.AssertionTypeJWT:
	case "":
		return credentials{}, oauth.Errorf(oauth.InvalidRequest, "client_assertion_type is missing: it must be %s", oauth.AssertionTypeJWT)
	default:
		return credentials{}, oauth.Errorf(oauth.InvalidClient, "client_assertion_type must be %s", oauth.AssertionTypeJWT)
	}
	s, ok := parseAssertion(form.Get("client_assertion"))
	if !ok {
		return credentials{}, oauth.Errorf(oauth.InvalidClient, notAuthenticated)
	}
	s.clientID = form.Get("client_id")
	return credentials{assertion: &s}, nil
}

// parseBasic returns the credentials in an Authorization header. A client_id in the form is no
// second method, but must be the same.
func parseBasic(header, formID string) (credentials, *oauth.Error) {
	scheme, encoded, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return credentials{}, malformedBasic()
	}
	raw, err := base64.StdEncoding.DecodeString(strings.Trim(encoded, " "))
	if err != nil {
		return credentials{}, malformedBasic()
	}
	id, secret, ok := strings.Cut(string(raw), ":")
	if !ok || id == "" {
		return credentials{}, malformedBasic()
	}
	p := credentials{method: oauth.AuthMethodSecretBasic, ids: spellings(id), secrets: spellings(secret)}
	if formID == "" {
		return p, nil
	}
	for _, id := range p.ids {
		if id == formID {
			p.ids = []string{id}
			return p, nil
		}
	}
	return credentials{}, oauth.Errorf(oauth.InvalidRequest, "client_id is another client than the Authorization header's")
}

func malformedBasic() *oauth.Error {
	return oauth.Errorf(oauth.InvalidClient, "the Authorization header is not Basic with an identifier and a secret")
}

// spellings returns what a value may mean that may be form-encoded, the decoded value first.
func spellings(value string) []string {
	decoded, err := url.QueryUnescape(value)
	if err != nil || decoded == value {
		return []string{value}
	}
	return []string{decoded, value}
}
