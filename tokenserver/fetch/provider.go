package fetch

import (
	"bytes"
	"crypto/x509"
	"io"
	"net/http"
)

// HTTPClient returns a client for requests to an identity provider, also those that carry
// credentials and forms, for libraries that need one. The rules are those of Get: https alone,
// addresses that are public or in Fetch.AllowedNetworks, one connection a request, no redirect, no
// proxy, and the limits of size and time. Roots are whom to trust; nil: the public roots. Errors
// wrap an *Error.
func (c *Client) HTTPClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Transport:     providerTransport{c, roots},
		Timeout:       Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type providerTransport struct {
	client *Client
	roots  *x509.CertPool
}

// RoundTrip implements http.RoundTripper. The body of the response has been read when it returns.
func (t providerTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Body != nil {
		defer func() { _ = request.Body.Close() }() // a RoundTripper has to, also after an error
	}
	target, err := parseURL(request.URL.String())
	if err != nil {
		return nil, &Error{BadAnswer, err}
	}
	request = request.Clone(request.Context())
	request.Header.Set("User-Agent", "oauth-operator")
	response, err := roundTrip(request, connector{client: t.client, rules: t.client.rules(), purpose: forProvider, host: target.Hostname(), roots: t.roots})
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // the connection is closed in any case
	body, err := readBody(response)
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}
