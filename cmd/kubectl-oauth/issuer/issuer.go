// Package issuer is the program as a client of a token server: the token request, and the
// authorization request of a public client in a browser.
//
//	issuer.go    reaching a token server
//	token.go     the token request and its answer (RFC 6749 sections 4, 5 and 6)
//	login.go     the authorization code flow of a native application (RFC 8252)
//	callback.go  the loopback address that receives the authorization response
//	browser.go   opening a browser
package issuer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/oauth-operator/oauth-operator/version"
)

// requestTimeout is how long the token server may take for an answer. Requests that verify a
// password may wait in its queue.
const requestTimeout = 30 * time.Second

// NewHTTPClient returns a client for requests to an issuer, which trusts the certificates of a PEM
// file, or those of the system if the path is empty. It follows no redirects: credentials go where
// they were meant to go.
func NewHTTPClient(authorityFile string) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if authorityFile != "" {
		content, err := os.ReadFile(authorityFile)
		if err != nil {
			return nil, fmt.Errorf("reading the issuer's certificate authority: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("%s has no certificate in PEM", authorityFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{
		Transport: bounded{transport}, Timeout: requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// maxAnswer is how much of an answer is read. ID tokens may have many claims.
const maxAnswer = 1 << 20

// bounded sends the program's User-Agent, and ends each answer after maxAnswer.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context()) // a RoundTripper may not change the request
	r.Header.Set("User-Agent", version.UserAgent("kubectl"))
	response, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = http.MaxBytesReader(nil, response.Body, maxAnswer)
	return response, nil
}

// CheckURL returns an error unless an issuer is https, or http at a loopback address, as the API
// server admits it: a secret that goes to any other address is no secret any more.
func CheckURL(issuer string) error {
	return checkAddress("the issuer", issuer)
}

// checkAddress is CheckURL for an address that the name is for.
func checkAddress(name, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("%s %q is no URL: %w", name, address, err)
	}
	if u.Scheme == "https" && u.Host != "" || u.Scheme == "http" && isLoopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%s %q is neither https nor at a loopback address", name, address)
}

// explainUnreachable adds what to try to an error of the connection.
func explainUnreachable(err error) error {
	var unknownAuthority x509.UnknownAuthorityError
	if errors.As(err, &unknownAuthority) {
		return fmt.Errorf("%w: name its authority with --issuer-certificate-authority", err)
	}
	return err
}
